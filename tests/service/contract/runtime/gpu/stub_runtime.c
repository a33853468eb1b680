/* The part of the CUDA runtime that page-locks memory (cuda_runtime_api.h). It grants at most MOST bytes at a time. */
#include <stdlib.h>

#ifndef MOST
#define MOST (1 << 30)
#endif

static int device = -1, granted = 0, last = 0;

int cudaSetDevice(int index) { device = index; return 0; }
int cudaGetLastError(void) { int error = last; last = 0; return error; }

int cudaHostAlloc(void **address, size_t size, unsigned flags) {
    if (flags != 1 || size > MOST) return last = 2;
    *address = malloc(size);
    granted++;
    return 0;
}

int cudaFreeHost(void *address) { free(address); granted--; return 0; }

int stub_device(void) { return device; }
int stub_granted(void) { return granted; }
int stub_last(void) { return last; }
