/* SPDX-License-Identifier: Apache-2.0 */
/* The process of one test: reads what it is to do, goes into the sandbox, does it. */
#include "inside.h"

#include "plugin/note.h"
#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { REPORT_FD = 3, SHARED_FD = 4 };

static char *copy_member(const json_t *j, const char *member)
{
        const char *s = json_get_string(j, member, NULL);

        return s ? strdup(s) : NULL;
}

/* The parent takes it out of this process: sendmsg(2) itself would be asked about. */
static void tell_listener(struct check *c, int listener)
{
        char text[32];

        snprintf(text, sizeof(text), "L%d", listener);
        send(c->report, text, strlen(text), MSG_NOSIGNAL);
}

static void enter_sandbox(struct check *c)
{
        _cleanup_(cleanup_buf) struct buf missing = BUF_NULL;
        const json_t *own = scenario_get(c, "sandbox");
        _cleanup_(cleanup_json_decref) json_t *write = scenario_expand(c, json_object_get(own, "write"));
        const char *off = c->test->flags & TEST_NO_CODE ? NULL : json_get_string(own, "off", NULL);
        struct sandbox s = {.flags = SANDBOX_ASKS, .folder = c->folder, .write = write,
                            .data_bytes = *CHECK_SANITIZER ? 0 : UINT64_C(2) << 30, /* they need terabytes */
                            .file_bytes = UINT64_C(1) << 30, .n_files = 1024,
                            .cpu_seconds = (c->test->seconds + 5) * MAX(c->options->slow, 1u)};
        int listener;

        if (json_is_array(write)) {
                char *text = json_dumps(write, JSON_COMPACT);
                _cleanup_(cleanup_buf) struct buf packet = BUF_NULL;

                buf_printf(&packet, "W%s", text ? text : "[]");
                send(c->report, packet.data, packet.n, MSG_NOSIGNAL);
                free(text);
        }
        if (off) { /* what makes a sandbox of its own may want to set its own limits */
                setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
                check_remark(c, "no sandbox: %s", off);
                return;
        }
        if (sandbox_enter(&s, &listener, &missing) < 0)
                check_stop(c, "the sandbox cannot be made: %s", strerror(errno));
        if (listener >= 0)
                tell_listener(c, listener);
        if (missing.n)
                check_remark(c, "%s", buf_str(&missing));
}

static void read_plugin_note(struct check *c)
{
        _cleanup_(cleanup_close) int fd = open(c->options->plugin, O_RDONLY | O_CLOEXEC);
        _cleanup_(cleanup_free) char *reason = NULL;

        if (fd >= 0)
                note_read(fd, &c->note, &reason);
        c->kind = c->note ? json_get_string(c->note, "kind", "") : "";
        c->is_foreign = c->note && streq(json_get_string(c->note, "isolation", ""), "process");
}

void child_main(const char *arguments)
{
        static struct check c;
        static struct options o;
        json_t *j = json_loads(arguments, 0, NULL);

        c.report = REPORT_FD;
        fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
        c.shared = mmap(NULL, sizeof(*c.shared), PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FD, 0);
        close(SHARED_FD);
        c.test = tests_find(json_get_string(j, "test", ""));
        if (c.shared == MAP_FAILED || !c.test)
                _exit(125);
        o = (struct options){.plugin = copy_member(j, "plugin"), .scenario = copy_member(j, "scenario"),
                             .config = copy_member(j, "config"), .libexec = copy_member(j, "libexec"),
                             .previous = copy_member(j, "previous"),
                             .words = json_incref(json_object_get(j, "words")),
                             .seed = (uint64_t)json_get_int(j, "seed", 0),
                             .slow = (unsigned int)json_get_int(j, "slow", 1)};
        c.options = &o;
        c.folder = copy_member(j, "folder");
        /* Every test has its own sequence, the same whichever others run. */
        c.random = o.seed;
        for (const char *p = c.test->name; *p; p++)
                c.random = c.random * 31 + (unsigned char)*p;
        json_decref(j);
        signal(SIGPIPE, SIG_IGN); /* as in the engine */
        /* A plugin whose engine goes, goes. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
        setenv("HOME", c.folder, 1);
        setenv("LANG", "C.UTF-8", 1);
        read_plugin_note(&c);
        if (o.scenario)
                c.scenario = scenario_load(&c, o.scenario);
        enter_sandbox(&c);
        check_step(&c, "before anything was asked of the plugin");
        c.test->run(&c);
        check_step(&c, "at the end of the test");
        scenario_stop(&c);
        send(c.report, "D", 1, MSG_NOSIGNAL);
        if (*CHECK_SANITIZER)
                exit(0); /* leaks are looked for */
        _exit(0);
}
