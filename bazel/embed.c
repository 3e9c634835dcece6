/* Writes a file's bytes as a C array: embed SYMBOL INPUT OUTPUT.c OUTPUT.h */

#include <stdio.h>
#include <stdlib.h>

static FILE *open_or_exit(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    return file;
}

static void close_or_exit(FILE *file, const char *path)
{
    if (ferror(file) != 0 || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: %s SYMBOL INPUT OUTPUT.c OUTPUT.h\n", argv[0]);
        return 2;
    }
    const char *symbol = argv[1];
    FILE *input = open_or_exit(argv[2], "rb");
    FILE *source = open_or_exit(argv[3], "w");
    fprintf(source, "#include <stddef.h>\n\nextern const unsigned char %s[];\nextern const size_t %s_bytes;\n\n",
            symbol, symbol);
    fprintf(source, "const unsigned char %s[] = {", symbol);
    size_t count = 0;
    for (int byte = fgetc(input); byte != EOF; byte = fgetc(input))
        fprintf(source, "%s%d,", count++ % 20 == 0 ? "\n    " : "", byte);
    /* A zero after the last byte, not counted: text can be used as a string. */
    fprintf(source, "\n    0};\n\nconst size_t %s_bytes = %zu;\n", symbol, count);
    close_or_exit(source, argv[3]);
    close_or_exit(input, argv[2]);

    FILE *header = open_or_exit(argv[4], "w");
    fprintf(header, "#pragma once\n\n#include <stddef.h>\n\nextern const unsigned char %s[];\nextern const size_t %s_bytes;\n",
            symbol, symbol);
    close_or_exit(header, argv[4]);
    return 0;
}
