/* The part of NVIDIA's driver that the service asks (cuda.h), for a machine that is described by macros. */
#include <stdio.h>
#include <string.h>

#ifndef GPUS
#define GPUS 1
#endif
#ifndef INIT
#define INIT 0
#endif
#ifndef VERSION
#define VERSION 13000
#endif
#ifndef RETAIN
#define RETAIN 0
#endif

int cuInit(unsigned flags) { return flags == 0 ? INIT : 1; }
int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }
int cuDeviceGetCount(int *count) { *count = GPUS; return 0; }

int cuDeviceGet(int *device, int ordinal) {
    if (ordinal < 0 || ordinal >= GPUS) return 101;
    *device = ordinal + 40; /* a handle is not the number */
    return 0;
}

int cuDeviceGetName(char *name, int length, int device) {
    if (device < 40) return 101;
    snprintf(name, length, "NVIDIA Stub %d", device - 40);
    return 0;
}

static int contexts = 0;

int cuDevicePrimaryCtxRetain(void **context, int device) {
    if (device < 40) return 101;
    *context = context;
    contexts += RETAIN == 0;
    return RETAIN;
}

int cuDevicePrimaryCtxRelease_v2(int device) {
    if (device < 40) return 101;
    contexts--;
    return 0;
}

int stub_contexts(void) { return contexts; }

int cuGetErrorName(int code, const char **name) {
    *name = code == 999 ? "CUDA_ERROR_UNKNOWN" : NULL;
    return code == 999 ? 0 : 1;
}
