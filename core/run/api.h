/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the API share. Internal to core/run. */
#ifndef PRVNG_RUN_API_H
#define PRVNG_RUN_API_H

#include "base/problem.h"
#include "definition/definition.h"
#include "plan/plan.h"
#include "run/process.h"

/* Answers with an error: {"error": {"message", "problems"?}}. */
void api_problems(struct request *q, int status, const char *message,
                  const struct problems *problems);
void api_refuse(struct request *q, int status, const char *format, ...) _printf_(3, 4);

/* The run of that id, or the latest of that name; NULL: it was answered that there is none. */
struct run *api_find_run(struct engine_process *p, struct request *q, const char *name, size_t n);

/* POST /workflows/{id}/COMMAND: `run` is what follows "/workflows/", `command` its rest from the slash
 * on. */
void api_command(struct engine_process *p, struct request *q, const char *run, const char *command);

/* POST /workflows/{id}/replan: `name` is {id}. */
void api_replan(struct engine_process *p, struct request *q, const char *name, size_t n_name);

/* A body with a definition in it: {"definition", "folder", "file", "only", "who", ...}. */
struct api_definition {
        struct document *document;
        uint32_t root, top; /* of the body, of the definition in it */
        struct problems problems;
        struct definition *definition;
        struct plan *plan;
        struct submission submission;
        struct buf canonical, who, logging; /* what it points to */
};

/* Reads the body. False: the answer says what is wrong with it; the same for those below. */
bool api_definition_read(struct engine_process *p, struct request *q, struct api_definition *a);

/* Checks the definition and plans it; for a paused run, whose id is `run`, or a new one (NULL). */
bool api_definition_plan(struct engine_process *p, struct request *q, struct api_definition *a,
                         const char *run);

/* Fills in the submission, but for the store; it lives as long as the body. */
bool api_definition_submission(struct request *q, struct api_definition *a, const struct uid *run);

/* A member of the body as text, or NULL. */
const char *api_definition_text(const struct api_definition *a, const char *key);

void api_definition_deinit(struct api_definition *a);

static inline void cleanup_api_definition(struct api_definition *a)
{
        api_definition_deinit(a);
}

/* compact.c: POST /store/compact */
void api_compact(struct engine_process *p, struct request *q);

/* api-adopt.c: POST /resources/adopt */
void api_adopt(struct engine_process *p, struct request *q);

/* api-orphans.c: POST /resources/orphans */
void api_orphans(struct engine_process *p, struct request *q);

/* api-ask.c, answered later: POST /resources/find, POST /workflows/precheck */
void api_ask_find(struct engine_process *p, struct request *q);
void api_ask_precheck(struct engine_process *p, struct request *q);

/* api-search.c: GET /resources/orphans, answered later */
void api_search(struct engine_process *p, struct request *q);

#endif
