const system = 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
Redoc.init(
  "openapi.json",
  {
    hideDownloadButton: false,
    nativeScrollbars: true,
    theme: { typography: { fontFamily: system, headings: { fontFamily: system } } },
  },
  document.getElementById("redoc"),
);
