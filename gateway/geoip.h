/* Where an address is, from a database in MaxMind's format (GeoLite2 City or Country, DB-IP, or one of the operator's
 * own). What is read of a record: country.iso_code, continent.code, location.latitude and location.longitude, as far as
 * they are there.
 *
 * The file is copied into memory when it is opened, so that whoever writes over it in place takes nothing away from
 * under a lookup; it is opened again when it has changed. One that is broken then changes nothing.
 *
 * Threading: one thread at a time. Opening blocks, for as long as it takes to copy the file; lookups take a few
 * microseconds. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

struct geoip;

struct geoip_answer {
    /* As coordinators' locations are called: ISO 3166's two letters in lower case, but "uk" for gb. "": not known. */
    char country[3];
    char continent[3]; /* "eu", "na" */
    bool place_known;
    double latitude, longitude; /* degrees */
};

/* NULL: `error` says what is wrong and what to do. The path outlives it. */
struct geoip *geoip_open(const char *path, char *error, size_t error_bytes);
void geoip_close(struct geoip *geoip); /* NULL is fine */

/* Opens the file again when it has changed, or `anyway`. Logs what became of it. */
void geoip_again(struct geoip *geoip, bool anyway);

/* False: nothing is known of that address, or it is none. */
bool geoip_find(struct geoip *geoip, const char *address, struct geoip_answer *answer);
