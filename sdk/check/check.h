/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng-plugin-check: does a plugin keep the contract?
 *
 * Every test runs in a process of its own: the program starts itself again for each (run.c), which goes
 * into a sandbox (core/sandbox) before it opens the plugin, and tells what it found over a socket. So a
 * plugin that crashes, hangs or spoils its process fails one test and disturbs no other. What it tries
 * and may not do is answered, and reported, by the parent.
 */
#ifndef PRVNG_CHECK_CHECK_H
#define PRVNG_CHECK_CHECK_H

#include "base/buf.h"
#include "base/json.h"
#include <prvng/prvng.h>

#if defined(__SANITIZE_THREAD__)
#define CHECK_SANITIZER "thread"
#elif defined(__SANITIZE_ADDRESS__)
#define CHECK_SANITIZER "address"
#else
#define CHECK_SANITIZER ""
#endif

struct check;
struct scenario;

/* --- the list of tests --- */

#define TEST_SCENARIO 0x1u /* needs --scenario */
#define TEST_MAY_TRY  0x4u /* what it tries and may not do is no failure: the test itself made up where to */
#define TEST_NO_CODE  0x2u /* runs none of the plugin's code */

struct test {
        const char *name;  /* "op/foreign-tokens" */
        const char *kinds; /* separated by spaces; NULL: all */
        const char *title; /* what a plugin that passes does */
        void (*run)(struct check *c);
        unsigned int seconds; /* limit of time, before --slow */
        unsigned int flags;
};

extern const struct test file_tests[], load_tests[], instance_tests[], op_tests[], scenario_tests[], crash_tests[],
        pending_tests[], store_tests[], loader_tests[], template_tests[],
        secret_tests[]; /* each ends with a NULL name */

/* Calls `visit` with every test, in order, until it returns false. */
void tests_visit(bool (*visit)(const struct test *t, void *userdata), void *userdata);
const struct test *tests_find(const char *name);

/* --- what was asked for --- */

struct options {
        char *plugin;   /* absolute path */
        char *scenario; /* absolute path, or NULL */
        char *config;   /* JSON object for create(); NULL: the scenario's, else "{}" */
        char *libexec;  /* of plugins' helper programs; NULL: as installed */
        char *previous; /* the plugin's previous release, or NULL */
        json_t *words;  /* of --word: name -> value */
        uint64_t seed;
        unsigned int slow; /* limits of time are multiplied by it */
};

/* --- one test, in its process --- */

/* Seen by the test's process, its children and the parent. */
struct shared {
        char step[400];  /* what is being done, for messages about crashes */
        int may_fork;    /* >0 while the checker itself, or a host service, starts a process */
        int may_spawn;   /* 1: posix_spawn is this kind of plugin's right (a worker that lives on) */
        int tested;      /* pid of the process that holds the plugin; 0: none yet */
        uint32_t kill_at; /* SIGKILL at this boundary; 0: never */
        uint32_t boundary; /* boundaries so far */
};

struct check {
        const struct options *options;
        const struct test *test;
        struct shared *shared;
        json_t *note;       /* the plugin's ELF note, NULL if it has none */
        const char *kind;   /* of the note, or "" */
        bool is_foreign;    /* isolation "process": another language's run time may come with it */
        const char *folder; /* the private folder, also the working folder */
        struct scenario *scenario; /* NULL: none */
        uint64_t random;
        int report;         /* socket to the parent */
        bool failed;
};

/* Each is kept and shown; the test goes on. */
void check_fail(struct check *c, const char *format, ...) _printf_(2, 3);
void check_remark(struct check *c, const char *format, ...) _printf_(2, 3); /* no failure */

/* Ends the test's process, and with it the test. */
_Noreturn void check_stop(struct check *c, const char *format, ...) _printf_(2, 3); /* failed */
_Noreturn void check_skip(struct check *c, const char *format, ...) _printf_(2, 3);

/* What comes next, for the message if it ends badly. */
void check_step(struct check *c, const char *format, ...) _printf_(2, 3);

uint64_t check_random(struct check *c);
size_t check_below(struct check *c, size_t n); /* 0 to n-1; n > 0 */

/* `text` with some bytes changed, cut, doubled or put in. */
void check_mutate(struct check *c, const void *data, size_t n, struct buf *ret);

int64_t check_now_ms(void);
void check_sleep_ms(int64_t ms);

/* The test's process: never returns. `arguments` is what run.c made. */
_Noreturn void child_main(const char *arguments);

/* --- results --- */

enum outcome { PASSED, FAILED, SKIPPED };

struct result {
        const struct test *test;
        enum outcome outcome;
        json_t *failures; /* arrays of strings */
        json_t *remarks;
        json_t *violations;
        char *reason;     /* of SKIPPED */
        struct buf output; /* what was printed, cut */
        int64_t ms;
};

/* Runs one test in its process. */
int run_test(const struct options *o, const struct test *t, struct result *ret);
void result_deinit(struct result *r);

struct report {
        const struct options *options;
        const json_t *note;
        struct result *results;
        size_t n;
        size_t passed, failed, skipped;
};

void report_text_one(FILE *f, const struct result *r, bool color);
void report_text_end(FILE *f, const struct report *r);
int report_json(FILE *f, const struct report *r);
void report_junit(FILE *f, const struct report *r);

#endif
