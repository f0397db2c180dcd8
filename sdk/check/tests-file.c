/* SPDX-License-Identifier: Apache-2.0 */
/* What the file shows, without any of its code run. */
#include "inside.h"

#include "plugin/note.h"

#include <fcntl.h>
#include <time.h>

/* What a plugin has no business with, and what it has instead. */
static const struct {
        const char *name, *instead;
} forbidden[] = {
        {"fork", "prvng.host.spawn/1"},          {"vfork", "prvng.host.spawn/1"},
        {"daemon", "prvng.host.spawn/1"},        {"system", "prvng.host.spawn/1"},
        {"popen", "prvng.host.spawn/1"},         {"execve", "prvng.host.spawn/1"},
        {"execv", "prvng.host.spawn/1"},         {"execvp", "prvng.host.spawn/1"},
        {"execl", "prvng.host.spawn/1"},         {"execlp", "prvng.host.spawn/1"},
        {"posix_spawn", "prvng.host.spawn/1"},   {"posix_spawnp", "prvng.host.spawn/1"},
        {"exit", "a return class"},              {"_exit", "a return class"},
        {"quick_exit", "a return class"},        {"atexit", "destroy()"},
        {"on_exit", "destroy()"},                {"pthread_atfork", "nothing: the engine does not fork"},
        {"signal", "cancel_fd()"},               {"sigaction", "cancel_fd()"},
        {"setenv", "nothing: the environment is the process's"},
        {"putenv", "nothing: the environment is the process's"},
        {"unsetenv", "nothing: the environment is the process's"},
        {"clearenv", "nothing: the environment is the process's"},
        {"chdir", "openat()"},                   {"fchdir", "openat()"},
        {"umask", "fchmod()"},                   {"setlocale", "newlocale() and uselocale()"},
        {"curl_global_init", "nothing: the core does it"},
        {"curl_global_cleanup", "nothing: the core does it"},
        {"git_libgit2_init", "nothing: the core does it"},
        {"git_libgit2_shutdown", "nothing: the core does it"},
        {"dlclose", "nothing: nothing is ever unloaded"},
};

static void read_elf(struct check *c, struct elf *ret)
{
        int r = elf_read(c->options->plugin, ret);

        if (r < 0)
                check_stop(c, "cannot be read: %s", strerror(-r));
        if (ret->error)
                check_stop(c, "%s", ret->error);
}

static void test_note(struct check *c)
{
        _cleanup_(cleanup_close) int fd = open(c->options->plugin, O_RDONLY | O_CLOEXEC);
        static const char *const kinds[] = {"provider", "taskserv", "store", "loader", "secret", "template"};
        _cleanup_(cleanup_free) char *reason = NULL;
        const char *isolation, *abi, *name;
        json_t *note = NULL;
        bool known = false;

        if (fd < 0 || note_read(fd, &note, &reason) < 0)
                check_stop(c, "cannot be read: %s", strerror(errno));
        if (!note)
                check_stop(c, "the file %s", reason);
        for (size_t i = 0; i < N_ELEMENTS(kinds); i++)
                known = known || streq(kinds[i], json_get_string(note, "kind", ""));
        if (!known)
                check_fail(c, "the note names the kind \"%s\", which there is not",
                           json_get_string(note, "kind", ""));
        abi = json_get_string(note, "abi", "");
        if (!startswith(abi, PRVNG_STR(PRVNG_ABI_MAJOR) "."))
                check_fail(c, "the note names the ABI \"%s\"; this checker knows " PRVNG_STR(PRVNG_ABI_MAJOR) ".x",
                           abi);
        isolation = json_get_string(note, "isolation", "");
        if (!streq(isolation, "none") && !streq(isolation, "process"))
                check_fail(c, "isolation is \"none\" or \"process\", the note says \"%s\"", isolation);
        name = json_get_string(note, "name", "");
        if (strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != strlen(name) || strlen(name) > 63)
                check_fail(c, "a short name is up to 63 of a-z 0-9 - _, the note says \"%s\"", name);
        if (!strchr(json_get_string(note, "id", ""), '.'))
                check_fail(c, "an id is a reverse DNS name, the note says \"%s\"", json_get_string(note, "id", ""));
        json_decref(note);
}

static void test_exports(struct check *c)
{
        const json_t *e;
        bool found = false;
        struct elf elf;
        size_t i;

        read_elf(c, &elf);
        json_array_foreach (elf.exports, i, e) {
                bool is_entry = startswith(json_string_value(e), "prvng_plugin_v") != NULL;

                found = found || streq(json_string_value(e), "prvng_plugin_v1");
                if (!is_entry && !c->is_foreign)
                        check_fail(c, "exports %s: link with the SDK's version script, or hide it",
                                   json_string_value(e));
        }
        if (!found)
                check_fail(c, "does not export prvng_plugin_v1");
        elf_deinit(&elf);
}

static void test_constructors(struct check *c)
{
        struct elf elf;

        read_elf(c, &elf);
        if (elf.n_init > 0 && !c->is_foreign)
                check_fail(c, "has %zu constructor%s: they run as soon as the file is opened, before anybody "
                              "knows what it is", elf.n_init, elf.n_init > 1 ? "s" : "");
        else if (elf.n_init > 0)
                check_remark(c, "has %zu constructors: it runs in a process of its own", elf.n_init);
        elf_deinit(&elf);
}

static void test_imports(struct check *c)
{
        const json_t *e;
        struct elf elf;
        size_t i;

        read_elf(c, &elf);
        json_array_foreach (elf.imports, i, e)
                for (size_t k = 0; k < N_ELEMENTS(forbidden); k++) {
                        bool worker = streq(c->kind, "template") && startswith(forbidden[k].name, "posix_spawn");

                        if (!streq(json_string_value(e), forbidden[k].name) || worker)
                                continue;
                        if (c->is_foreign)
                                check_remark(c, "uses %s()", forbidden[k].name);
                        else
                                check_fail(c, "uses %s(); a plugin has %s", forbidden[k].name, forbidden[k].instead);
                }
        elf_deinit(&elf);
}

static void test_linked(struct check *c)
{
        struct elf elf;

        read_elf(c, &elf);
        if (elf.has_executable_stack)
                check_fail(c, "asks for an executable stack");
        if (elf.has_text_relocations)
                check_fail(c, "has text relocations: compile with -fPIC");
        if (!elf.is_nodelete)
                check_remark(c, "is not linked with -z nodelete");
        if (!elf.is_now)
                check_remark(c, "is not linked with -z now");
        elf_deinit(&elf);
}

static void test_scan(struct check *c)
{
        struct timespec a, b;
        int64_t us;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
        for (int i = 0; i < 10; i++) {
                _cleanup_(cleanup_close) int fd = open(c->options->plugin, O_RDONLY | O_CLOEXEC);
                _cleanup_(cleanup_free) char *reason = NULL;
                json_t *note = NULL;

                if (fd < 0 || note_read(fd, &note, &reason) < 0 || !note)
                        check_stop(c, "cannot be scanned: %s", reason ? reason : strerror(errno));
                json_decref(note);
        }
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
        us = ((b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000) / 10;
        if (us > 100000)
                check_fail(c, "reading the note takes %lld ms of processor time, 100 are allowed",
                           (long long)us / 1000);
}

const struct test file_tests[] = {
        {"file/note", NULL, "says what it is without being run", test_note, 10, TEST_NO_CODE},
        {"file/scan", NULL, "is scanned within 100 ms", test_scan, 20, TEST_NO_CODE},
        {"file/one-symbol", NULL, "exports prvng_plugin_v1 and nothing else", test_exports, 10, TEST_NO_CODE},
        {"file/no-constructors", NULL, "runs nothing when it is opened", test_constructors, 10, TEST_NO_CODE},
        {"file/no-forbidden-calls", NULL, "uses nothing that belongs to the process", test_imports, 10,
         TEST_NO_CODE},
        {"file/linked-well", NULL, "has no executable stack and no text relocations", test_linked, 10,
         TEST_NO_CODE},
        {0},
};
