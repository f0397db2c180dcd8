/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests have in common: the host that the plugin meets, the plugin, its calls, its traces. */
#ifndef PRVNG_CHECK_INSIDE_H
#define PRVNG_CHECK_INSIDE_H

#include "check.h"
#include "config/config.h"
#include "host/call.h"
#include "host/host.h"

/* --- the host (host.c) --- */

/* The table ends where its memory ends: who reads behind struct_size gets SIGSEGV. */
struct world {
        struct check *check;
        struct prvng_host *table; /* what the plugin is given */
        struct config config;
        struct host *core;        /* services */
        const struct prvng_host *core_table;

        bool no_interfaces;       /* get_interface answers NULL */
        bool is_pure;             /* no service may be called now */
        const char *pure_what;    /* which function that is said of */
        int64_t sink_left;        /* bytes that sinks take from now on; -1: as many as come */
        bool sink_refused;        /* one has refused some */
        size_t n_logged;          /* lines with PRVNG_LOG_ERROR or worse */
        size_t n_said;            /* error records */
        struct buf log;           /* all lines */
};

struct world_options {
        uint32_t table_size; /* struct_size of the table, 0: PRVNG's own; longer: garbage behind */
        uint32_t abi_minor;
};

/* Made once in a process. Stops the test where it fails. */
struct world *world_new(struct check *c, const struct world_options *options);
void world_end(struct world *w);
extern struct world *the_world;

/* A place where the process may be killed: before and after what leaves it. */
void world_boundary(const char *where);

/* Fails the test if the text holds a secret of the scenario: one of "secrets", or a value of "references". */
void world_look_for_secrets(struct check *c, const char *where, const void *data, size_t n);

/* The same for all files below a folder. */
void world_look_into(struct check *c, const char *path);

/* --- the plugin (subject.c) --- */

struct subject {
        struct check *check;
        struct world *world;
        void *handle;
        int32_t (*entry)(const struct prvng_host *host, const struct prvng_plugin **ret);
        const struct prvng_plugin *plugin;
        void *instance;
        struct prvng_op op; /* copies, zero-extended; struct_size 0: it has none */
        struct prvng_store store;
        struct prvng_loader loader;
        struct prvng_template template_;
        struct prvng_secret secret;
};

/* dlopen and the entry symbol; stops the test where that fails. */
void subject_open(struct check *c, struct world *w, struct subject *ret);
/* The entry. False if the plugin refuses, having said why. */
bool subject_enter(struct subject *s);
/* create() and the tables. False if create refused, having said why; fails the test if it did not. */
bool subject_create(struct subject *s, const char *config);
void subject_destroy(struct subject *s);

/* All of it with the configuration asked for; skips the test where the plugin does not start with it. */
void subject_start(struct check *c, struct subject *ret);
/* The same, with the scenario's fake, if there is one. */
void subject_start_live(struct check *c, struct subject *ret);
void subject_stop(struct subject *s);

const char *check_config(struct check *c);
bool class_is_known(int32_t answer);
const char *class_name(int32_t answer);

/* --- calls (calls.c) --- */

/* One call and what came of it. */
struct act {
        struct subject *s;
        struct op_call call;
        struct op_reply reply; /* token, result and error record */
        struct prvng_sink token, result;
        char op_id[27];
        char run[27];
        char task[64];
        int32_t answer;
        const char *what; /* "begin" */
};

/* `op_id` NULL: "". The call ends by `limit_ms` from now. */
void act_init(struct act *a, struct subject *s, const char *op_id, uint32_t attempt, int64_t limit_ms);
void act_deinit(struct act *a);

static inline void cleanup_act(struct act *a)
{
        act_deinit(a);
}

int32_t act_prepare(struct act *a, const char *verb, const void *task, size_t n);
int32_t act_begin(struct act *a, const char *verb, const void *request, size_t n);
int32_t act_poll(struct act *a, const char *verb, const void *request, size_t n, const void *token,
                 size_t n_token);
int32_t act_cancel(struct act *a, const char *verb, const void *request, size_t n, const void *token,
                   size_t n_token);
int32_t act_observe(struct act *a, const char *verb, const void *request, size_t n, const void *token,
                    size_t n_token);
int32_t act_read(struct act *a, const void *task, size_t n);
int32_t act_list(struct act *a, const char *filter);

/* Checks what every answer must be: a class that there is, an error record with every failure, a result
 * that is one JSON object, a token within its rules. Each call above does it. */
void act_judge(struct act *a, int32_t answer);
void act_judge_observed(struct act *a, int32_t answer);

/* For a thread: cancels the act (userdata) after ACT_SOON_MS. */
enum { ACT_SOON_MS = 300 };
void *act_cancel_soon(void *userdata);

/* A fresh op id. */
void op_id_new(struct check *c, char ret[27]);

/* --- traces in the process (trace.c) --- */

struct trace;
struct trace *trace_take(struct check *c);
/* Fails the test for each difference; frees. */
void trace_compare(struct check *c, struct trace *before, const char *after_what);
size_t trace_memory(void); /* bytes in use from malloc */
/* How often these bytes stand in the memory of this process; -1: it cannot be read. */
int64_t memory_count(const void *bytes, size_t n);

/* --- the builder of documents (builder.c) --- */

/* Takes events, checks their order, and gives up where it is told to. */
struct builder {
        struct check *check;
        const char *path;       /* of the source */
        uint32_t n_lines;       /* of the source, 0: not known */
        uint64_t events;
        uint64_t give_up_at;    /* the event that is refused, with all after it; 0: none */
        int32_t gave_up;        /* the class it was refused with */
        bool went_on;           /* events came after that */
        unsigned int depth;
        char open[65];          /* '{' or '[' */
        bool has_key;
        bool is_done;           /* a value stands at the top */
        unsigned int n_problems;
        uint32_t problem_line, problem_column; /* of the first */
        struct buf problem;     /* its message */
        struct buf json;        /* what was built, as JSON */
};

const struct prvng_host_document *builder_table(void);
struct prvng_document *builder_of(struct builder *b);
void builder_deinit(struct builder *b);

/* --- ELF files (elf.c) --- */

struct elf {
        json_t *exports;   /* names */
        json_t *imports;
        size_t n_init;     /* entries in .init_array and .preinit_array beyond the C run time's */
        bool has_init_of_its_own;
        bool has_text_relocations;
        bool has_executable_stack;
        bool is_nodelete;
        bool is_now;
        char *error;
};

int elf_read(const char *path, struct elf *ret);
void elf_deinit(struct elf *e);

/* --- scenarios (scenario.c) --- */

struct scenario {
        json_t *json;
        char *folder;        /* of the file */
        struct buf config;   /* JSON */
        json_t *secrets;     /* array, or NULL */
        int fake;            /* pid, 0: none */
        char *base;          /* of words that stand for others */
};

/* NULL after check_stop. */
struct scenario *scenario_load(struct check *c, const char *path);
void scenario_start(struct check *c); /* its fake, its environment */
void scenario_stop(struct check *c);
const json_t *scenario_get(const struct check *c, const char *member); /* NULL: none */
int64_t scenario_limit(const struct check *c, const char *name, int64_t fallback);

/* How many resources there are, as the scenario's "count" says. */
int64_t scenario_count(struct check *c);

/* @WORDS@ replaced, in every string of it. */
json_t *scenario_expand(struct check *c, const json_t *value);

#endif
