// Starts Redoc on /redoc.
Redoc.init("/openapi.json", { hideDownloadButton: false, disableSearch: true }, document.getElementById("contract"));
