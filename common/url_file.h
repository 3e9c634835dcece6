/* Where a process is reached, when that is not known beforehand: a URL in a file, which whoever keeps the tunnel
 * replaces when it is another one (muster-tunnel; or any program of the operator's). The file is small; who needs it
 * reads it every URL_FILE_INTERVAL_MS.
 *
 * Threading: none of its own. */

#pragma once

#include <stddef.h>

#define URL_FILE_INTERVAL_MS 500

/* Reads the first line, without slashes at its end, into `url`; whether it is a URL is for the caller to judge. Returns
 * its length; 0: there is no such file, it holds none, or it is too long. */
size_t url_file_read(const char *path, char *url, size_t url_bytes);
