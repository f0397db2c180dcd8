/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared files of AWS (~/.aws/credentials, ~/.aws/config): [section], key = value, # and ; begin
 * comments, lines that begin with space belong to a nested block and are left out.
 */
#ifndef PRVNG_AWS_INI_H
#define PRVNG_AWS_INI_H

#include <jansson.h>

/* {"section": {"key": "value"}}; {} if there is no such file. 0; -ENOMEM; or what reading said. */
int ini_read(const char *path, json_t **ret);

/* Writes `text` to `path` atomically and durably, with mode 0600. */
int ini_write(const char *path, const char *text);

/* The file's text with `keys` (name -> value, NULL value: removed) set in `section`; all else stays as it
 * is. To be freed; wiped first if it holds a secret. */
int ini_replace(const char *path, const char *section, const json_t *keys, char **ret_text);

#endif
