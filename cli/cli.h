/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One invocation of prvng: what was asked for, and how to answer.
 *
 * A command is a row of a table: its words, options, help and function. The parser knows no command.
 */
#ifndef PRVNG_CLI_CLI_H
#define PRVNG_CLI_CLI_H

#include "base/buf.h"
#include "base/json.h"

/* Exit codes, design.md §6. */
enum {
        EXIT_RUN_FAILED = 1,
        EXIT_USAGE = 2,
        EXIT_DEFINITION = 3,
        EXIT_UNUSABLE = 7,
        EXIT_DRIFT = 8,
        EXIT_DETACHED = 130,
};

enum format { FORMAT_TABLE, FORMAT_JSON, FORMAT_YAML };

struct option_def {
        const char *name;  /* without dashes; the table ends with NULL */
        char letter;       /* 0: none */
        const char *value; /* what stands for its value in the help; NULL: a switch */
        const char *help;
};

struct cli;

struct command {
        const char *words;    /* "batch submit" */
        const char *args;     /* "FILE", "" if none */
        int min_args, max_args; /* max -1: any number */
        const char *summary;  /* one line */
        const char *help;     /* more of it, or NULL */
        const char *examples; /* lines without "prvng " in front, separated by newlines */
        const struct option_def *options; /* NULL: none of its own */
        int (*run)(struct cli *cli);      /* exit code */
};

struct option_use {
        const struct option_def *def;
        const char *value;
};

struct cli {
        const struct command *command;
        struct option_use *uses;
        size_t n_uses;
        char **args; /* ends with NULL */
        int n_args;

        const char *config; /* --config or NULL */
        enum format format;
        bool color;     /* of stdout */
        bool color_err; /* of stderr */
        bool terminal;  /* stdout is one */
        bool utf8;
};

extern const struct command commands[]; /* ends with words NULL */
extern const struct option_def global_options[]; /* ends with name NULL */

struct group {
        const char *word, *summary;
};

extern const struct group groups[]; /* ends with word NULL */

/* COMMAND is one of the group's. */
bool command_in_group(const struct command *c, const char *group);

/* 0: go on with cli->command; else exit with *ret_exit (help was printed, or what is wrong). */
int cli_parse(struct cli *cli, int argc, char **argv, int *ret_exit);
void cli_deinit(struct cli *cli);

bool option_given(const struct cli *cli, const char *name);
const char *option_value(const struct cli *cli, const char *name); /* the last one, or NULL */

/* "prvng: MESSAGE" to stderr. */
void complain(const struct cli *cli, const char *format, ...) _printf_(2, 3);

/* Prints a document as JSON or YAML. */
void print_document(const struct cli *cli, const json_t *json);

/* The commands. */
int batch_submit(struct cli *cli);
int batch_attach(struct cli *cli);
int batch_list(struct cli *cli);
int batch_status(struct cli *cli);
int batch_logs(struct cli *cli);
int batch_events(struct cli *cli);
int batch_graph(struct cli *cli);
int batch_destroy(struct cli *cli);
int batch_check(struct cli *cli);
int batch_pause(struct cli *cli);
int batch_resume(struct cli *cli);
int batch_rollback(struct cli *cli);
int batch_retry(struct cli *cli);
int batch_cancel(struct cli *cli);
int batch_resolve(struct cli *cli);
int resource_list(struct cli *cli);
int resource_show(struct cli *cli);
int resource_adopt(struct cli *cli);
int resource_orphans(struct cli *cli);
int secret_rotate(struct cli *cli);
int plugin_list(struct cli *cli);
int plugin_info(struct cli *cli);
int plugin_trust(struct cli *cli);
int server_list(struct cli *cli);
int server_exec(struct cli *cli);
int server_shell(struct cli *cli);
int server_logs(struct cli *cli);
int store_cat(struct cli *cli);
int store_check(struct cli *cli);
int store_compact(struct cli *cli);
int store_export(struct cli *cli);
int store_import(struct cli *cli);
int store_migrate(struct cli *cli);
int audit_log(struct cli *cli);
int audit_verify(struct cli *cli);
int config_check(struct cli *cli);

#endif
