/* What went wrong, as a sentence that says what to do about it. Functions of the bench that
 * can fail return false and have filled one of these; nobody owns it but the caller. */

#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

struct failure {
    char text[512];
};

/* Writes the text and returns false, so that it can be the argument of a return. */
__attribute__((format(printf, 2, 3))) static inline bool fail(struct failure *failure, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(failure->text, sizeof failure->text, format, arguments);
    va_end(arguments);
    return false;
}
