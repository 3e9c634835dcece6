/* See assets.h. */

#include "gateway/pages/assets.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "gateway/pages/asset_missing.h"
#include "gateway/pages/asset_redoc_js.h"
#include "gateway/pages/asset_redoc_standalone_js.h"
#include "gateway/pages/asset_swagger_js.h"
#include "gateway/pages/asset_swagger_ui_bundle_js.h"
#include "gateway/pages/asset_swagger_ui_css.h"

#define HTML "text/html; charset=utf-8"
#define SCRIPT "text/javascript; charset=utf-8"

/* The trailer of gzip has the CRC-32 and the length of what was packed (RFC 1952, 2.3.1): as
 * good as a hash, and known without reading the rest. */
static void write_version(struct page_asset *asset)
{
    uint32_t crc = 0;
    uint32_t length = 0;
    for (size_t i = 4; i > 0; i--) {
        crc = crc << 8 | asset->packed[asset->packed_bytes - 9 + i];
        length = length << 8 | asset->packed[asset->packed_bytes - 5 + i];
    }
    snprintf(asset->version, sizeof asset->version, "%08x%08x", crc, length);
}

bool page_asset_find(const char *name, struct page_asset *asset)
{
    const struct page_asset all[] = {
        {"missing.html", HTML, page_asset_missing, page_asset_missing_bytes, ""},
        {"swagger.js", SCRIPT, page_asset_swagger_js, page_asset_swagger_js_bytes, ""},
        {"redoc.js", SCRIPT, page_asset_redoc_js, page_asset_redoc_js_bytes, ""},
        {"swagger-ui-bundle.js", SCRIPT, page_asset_swagger_ui_bundle_js, page_asset_swagger_ui_bundle_js_bytes, ""},
        {"swagger-ui.css", "text/css; charset=utf-8", page_asset_swagger_ui_css, page_asset_swagger_ui_css_bytes, ""},
        {"redoc.standalone.js", SCRIPT, page_asset_redoc_standalone_js, page_asset_redoc_standalone_js_bytes, ""},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (strcmp(all[i].name, name) == 0 && all[i].packed_bytes > 8) {
            *asset = all[i];
            write_version(asset);
            return true;
        }
    }
    return false;
}
