/* Whom a worker may register with, and in which order: the list that it was given, and what the answer to its
 * registration named.
 *
 * There is always a round, which begins with the one that is spoken to:
 *
 *     at first             the configured list, in its order
 *     while registered     the one that heartbeats go to, then fallbacks, then the configured list
 *     after a loss         fallbacks, then the configured list; the lost one last of all, for it may be back
 *     on the way back      the one that it goes back to, then the one that it leaves, then fallbacks and the list
 *     sent elsewhere       the one that says so, then those that it named, then the list
 *
 * An edge router names the coordinator that took the worker: heartbeats go straight there (`home`), and while it cannot
 * be reached that way, through the one that took the registration (`via`). At a coordinator both are the same.
 *
 * What an answer names is believed only if it is an http or https URL of a sane length, and no http URL is taken from
 * somebody who was spoken to over https: the worker's key would be sent in the clear. Anything else is passed over.
 *
 * URLs have no slash at their end. No I/O, no clock. Threading: none of its own. */

#pragma once

#include <stdbool.h>
#include <stddef.h>

#define COORDINATORS_URL_BYTES 1024 /* with the zero byte */
#define COORDINATORS_CONFIGURED_MAX 8
#define COORDINATORS_FALLBACKS_MAX 16
/* Those, via, home, and one to go back to. */
#define COORDINATORS_ROUND_MAX (COORDINATORS_CONFIGURED_MAX + COORDINATORS_FALLBACKS_MAX + 3)

/* Fields are for reading. Not to be copied: the round points into it. */
struct coordinators {
    char configured[COORDINATORS_CONFIGURED_MAX][COORDINATORS_URL_BYTES];
    size_t configured_count;
    char fallbacks[COORDINATORS_FALLBACKS_MAX][COORDINATORS_URL_BYTES];
    size_t fallback_count;
    char home[COORDINATORS_URL_BYTES]; /* "": never registered */
    char via[COORDINATORS_URL_BYTES];
    char back[COORDINATORS_URL_BYTES];
    bool through_via;  /* heartbeats go to `via` */
    bool home_answers; /* it has taken a heartbeat */
    const char *round[COORDINATORS_ROUND_MAX];
    size_t round_count; /* at least 1 */
    size_t position;
};

/* Reads a comma separated list of URLs. False, with a sentence that says what to do, when it is none. */
bool coordinators_init(struct coordinators *coordinators, const char *list, char *error, size_t error_bytes);

/* The one to speak to. */
const char *coordinators_current(const struct coordinators *coordinators);

/* The current one did not take the registration: the next one of the round is current, after the last the first. */
void coordinators_next(struct coordinators *coordinators);

/* The current one took the registration and named `home` (NULL: nobody) and fallbacks; when it named none, those that
 * were named before stay. */
void coordinators_registered(struct coordinators *coordinators, const char *home, const char *const *fallbacks,
                             size_t fallback_count);

/* The current one takes no registration of this worker, and named others that will: they come next in the round. False:
 * it named nobody else that can be used, and nothing has changed. */
bool coordinators_named(struct coordinators *coordinators, const char *const *urls, size_t url_count);

/* The current one took a heartbeat. */
void coordinators_heard(struct coordinators *coordinators);

/* The current one could not be reached for a heartbeat: the other way is current, if there are two. */
void coordinators_unheard(struct coordinators *coordinators);

/* Whether the current one may be somebody else than it was said to be: it was only named, has never taken a heartbeat,
 * and there is another way. What it says of a worker then is not believed. */
bool coordinators_doubtful(const struct coordinators *coordinators);

/* A round begins at that one, and goes on at home. */
void coordinators_return(struct coordinators *coordinators, const char *url);

/* Home is lost: a round of the others begins. */
void coordinators_lost(struct coordinators *coordinators);
