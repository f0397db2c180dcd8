/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be done on this machine: asked once in a process, from the probe program, and told in
 * one sentence with the cure.
 */
#include "local.h"

static int32_t ask(struct local *l, struct prvng_call *call, json_t **ret)
{
        const char *state = local_state(l);
        _cleanup_(cleanup_free) char *program = local_program(l, "prvng-local-probe");
        _cleanup_(cleanup_free) char *output = local_format("%s/probe.XXXXXX", state);
        int32_t code = -1;

        if (!state || !program || !output)
                return local_fail(l, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                                  "local: the folder for the state of servers cannot be made");
        int fd = mkstemp(output);
        if (fd < 0)
                return local_fail(l, call, PRVNG_TRANSIENT, PRVNG_EFFECT_NONE, NULL,
                                  "local: %s: %s", output, strerror(errno));
        close(fd);
        const char *argv[] = {program, state, output, NULL};
        struct prvng_spawn spawn = {
                .struct_size = sizeof(spawn), .argv = argv, .timeout_ms = 20000};
        int32_t r = l->spawn->run(call, &spawn, NULL, NULL, &code);
        int k = r == PRVNG_DONE && code == 0 ? local_read_json(output, ret) : -EIO;
        unlink(output);
        if (r != PRVNG_DONE)
                return r;
        if (k < 0)
                return local_fail(l, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                                  "local: %s %s %s ended with %d: run it to see why", program,
                                  state, output, code);
        return PRVNG_DONE;
}

/* With l->lock held. */
static int32_t ask_once(struct local *l, struct prvng_call *call)
{
        return l->probe ? PRVNG_DONE : ask(l, call, &l->probe);
}

int32_t probe_run(struct local *l, struct prvng_call *call, json_t **ret_report)
{
        return ask(l, call, ret_report);
}

/* One sentence of all that is missing, and each cure once. */
static char *sentence(const json_t *report)
{
        _cleanup_(cleanup_free) char *cures = NULL;
        char *text = NULL;
        size_t i, n_text = 0, n_cures = 0;
        json_t *check;
        FILE *f = open_memstream(&text, &n_text), *c = open_memstream(&cures, &n_cures);

        if (!f || !c)
                return NULL;
        json_array_foreach(json_object_get(report, "checks"), i, check)
        {
                const char *cure = local_string(check, "cure", "");

                if (json_is_true(json_object_get(check, "ok")) ||
                    !json_is_true(json_object_get(check, "needed")))
                        continue;
                fprintf(f, "%s%s", ftell(f) > 0 ? "; " : "", local_string(check, "message", "?"));
                fflush(c);
                if (!cures || !strstr(cures, cure))
                        fprintf(c, "%s%s", n_cures > 0 ? "; " : "", cure);
        }
        fclose(c);
        if (ftell(f) > 0)
                fprintf(f, ". %s", cures);
        fclose(f);
        if (n_text > 0)
                return text;
        free(text);
        return NULL;
}

int32_t probe_check(struct local *l, struct prvng_call *call)
{
        if (l->chroot && geteuid() != 0)
                return local_fail(l, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                                  "local: driver = \"chroot\" needs root; driver = \"ns\" does"
                                  " not");
        /* Needs nothing but a base image, whose builder speaks for itself. */
        if (l->chroot)
                return PRVNG_DONE;
        pthread_mutex_lock(&l->lock);
        int32_t r = ask_once(l, call);
        _cleanup_(cleanup_free) char *missing = r == PRVNG_DONE ? sentence(l->probe) : NULL;
        /* What is put right now must be seen by the next try. */
        if (missing) {
                json_decref(l->probe);
                l->probe = NULL;
        }
        pthread_mutex_unlock(&l->lock);
        if (!missing)
                return r;
        return local_fail(l, call, PRVNG_PERMANENT, PRVNG_EFFECT_NONE, NULL,
                          "local: cannot create servers%s: %s%s",
                          geteuid() == 0 ? "" : " without root", missing,
                          geteuid() == 0
                                  ? ". Or set driver = \"chroot\" (no isolation, no own address, no"
                                    " limits)"
                                  : ". Or run prvng as root");
}
