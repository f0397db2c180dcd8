/* SPDX-License-Identifier: Apache-2.0 */
/* The ELF note of a plugin, read without running any of its code. Inside core/plugin only. */
#ifndef PRVNG_PLUGIN_NOTE_H
#define PRVNG_PLUGIN_NOTE_H

#include <jansson.h>

/*
 * Reads the note of an open file. Trusts nothing in it: every offset and size is checked against
 * the file. Returns 0 with the object (caller frees), or 0 with *ret_note NULL and a sentence that
 * goes on after the file's name ("is no ELF file", caller frees); -errno if memory is short.
 */
int note_read(int fd, json_t **ret_note, char **ret_reason);

/* The build id that the linker wrote into an open file, in hex (caller frees), or NULL. -ENOMEM. */
int note_build_id(int fd, char **ret_hex);

#endif
