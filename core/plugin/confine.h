/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an isolated plugin may do: its capabilities (config/capability.h), and what the site's configuration
 * itself names. Every text of the drop-in's `config`, and every value of a variable that the plugin declares,
 * counts as named: a URL allows its host, {"env": ...} and {"file": ...} that secret, an absolute path to
 * read it.
 *
 * The functions that answer "may it" write a sentence with the cure into `why` where it may not. All are for
 * plugins with p->capabilities, look at the environment of this process and change nothing. [any]
 */
#ifndef PRVNG_PLUGIN_CONFINE_H
#define PRVNG_PLUGIN_CONFINE_H

#include "plugin/plugin.h"

/* Open a session of prvng.host.http/1 with these options? What is wrong with them otherwise is not its
 * business: true. */
bool confine_session(const struct plugin *p, const void *options, uint64_t n_options, struct buf *why);

/* Start this program by prvng.host.spawn/1, outside of its process? Helper programs of the site's folder are
 * meant by name or by path. */
bool confine_program(const struct plugin *p, const char *program, struct buf *why);

/* Reach a server by prvng.host.remote/1 as this result of a provider says? */
bool confine_reach(const struct plugin *p, const void *server, uint64_t n_server, struct buf *why);

/*
 * Secrets stay on this side. In the plugin's environment a declared variable has the text
 * CONFINE_SEALED NAME instead of its value; given to secret_set() of prvng.host.http/1 it stands for the
 * value. The value behind such a text (of this process's environment, never freed), or NULL if it is none.
 */
#define CONFINE_SEALED "prvng-sealed:"
const char *confine_unseal(const struct plugin *p, const void *value, uint64_t n_value);

/* The environment of its process: variables that it declares, secrets sealed. Ends with NULL; freed by
 * confine_environment_free. NULL: out of memory. */
char **confine_environment(const struct plugin *p);
void confine_environment_free(char **environment);

/* The sandbox of its process, as one object for confine_enter() there: paths expanded and made, numbers
 * decided. "remarks" is a list of sentences on what cannot be had. Caller frees. -errno. [main] */
int confine_sandbox(const struct plugin *p, json_t **ret_sandbox);

/* In the plugin's process, while it has one thread: goes into that sandbox. What the kernel lacks goes to
 * ret_missing. -errno: the process is to end. */
int confine_enter(const json_t *sandbox, struct buf *ret_missing);

/* "may reach api.example.net:443, secrets EXAMPLE_TOKEN", or "may reach nothing but the host's services". */
void confine_describe(const struct plugin *p, struct buf *out);

#endif
