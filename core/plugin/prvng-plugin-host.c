/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prvng-plugin-host: one plugin in a process of its own. Started by core/plugin/isolate-owner.c, of use to
 * nobody else.
 */
#include "plugin/prvng-plugin-host.h"

#include "base/json.h"
#include "plugin/confine.h"
#include "plugin/entry.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

enum { CONTROL = 3, OUTSIDE = 4 };

const struct prvng_plugin *the_plugin;
void *the_instance;
const void *the_tables[16];

static struct wire control = {.fd = CONTROL, .max = WIRE_OUT_MAX};
static struct buf config; /* valid until destroy() */
static struct prvng_plugin descriptor;

_Noreturn void helper_end(void)
{
        _exit(0);
}

const struct prvng_op *the_op(void)
{
        for (size_t n = 0; n < wire_n_interfaces; n++)
                if (the_tables[n] && wire_interfaces[n].size == sizeof(struct prvng_op))
                        return the_tables[n];
        return NULL;
}

static void flush(void)
{
        if (wire_flush(&control) < 0)
                helper_end();
}

static void refuse(const char *format, ...) _printf_(1, 2);
static void refuse(const char *format, ...)
{
        _cleanup_(cleanup_buf) struct buf b = BUF_NULL;
        char text[2048];
        va_list ap;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        wire_begin(&control, WIRE_REFUSED);
        wire_put_text(&control, text);
        wire_end(&control);
        flush();
}

/* --- opening --- */

static bool enter_sandbox(const char *text)
{
        _cleanup_(cleanup_json_decref) json_t *sandbox = NULL;
        _cleanup_(cleanup_buf) struct buf missing = BUF_NULL;
        int r = json_parse(text, strlen(text), &sandbox, NULL);

        r = r ?: confine_enter(sandbox, &missing);
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* forgotten if it has another user now */
        if (r) {
                refuse("its process cannot be confined: %s", r < 0 ? strerror(-r) : "bad instructions");
                return false;
        }
        wire_begin(&control, WIRE_CONFINED);
        wire_put_text(&control, buf_str(&missing));
        wire_end(&control);
        flush();
        return true;
}

static void put_descriptor(const struct prvng_plugin *given)
{
        struct prvng_plugin *d = &descriptor;
        uint32_t head[2];

        memcpy(head, given, sizeof(head));
        wire_begin(&control, WIRE_OPENED);
        wire_put_u32(&control, head[0]);
        wire_put_u32(&control, head[1]);
        if (head[0] >= PRVNG_PLUGIN_BASELINE) {
                memcpy(d, given, MIN((size_t)head[0], sizeof(*d)));
                wire_put_u32(&control, d->abi_minor);
                wire_put_u32(&control, d->min_host_minor);
                wire_put_text(&control, d->id);
                wire_put_text(&control, d->name);
                wire_put_text(&control, d->kind);
                wire_put_text(&control, d->version);
                wire_put_text(&control, d->description);
                wire_put_text(&control, d->licence);
                wire_put_u32(&control, d->threads);
                wire_put_u32(&control, d->flags);
                wire_put_i64(&control, d->settle_ms);
                wire_put_text(&control, d->dependencies);
                wire_put_u32(&control, (d->create ? WIRE_HAS_CREATE : 0) | (d->destroy ? WIRE_HAS_DESTROY : 0) |
                                               (d->get_interface ? WIRE_HAS_GET_INTERFACE : 0) |
                                               (d->self_test ? WIRE_HAS_SELF_TEST : 0));
                the_plugin = d;
                lines_wipe = d->kind && streq(d->kind, "secret");
        }
        wire_end(&control);
        flush();
}

static void open_plugin(const char *path)
{
        const struct prvng_plugin *given = NULL;
        plugin_entry_f entry = NULL;
        char *why = NULL;
        void *handle;
        int32_t answer;

        if (entry_open(path, &entry, &handle, &why) < 0)
                helper_end();
        if (!entry) {
                refuse("%s", why);
                free(why);
                return;
        }
        answer = entry(table_get(), &given);
        if (answer != PRVNG_DONE)
                refuse("%s refuses to run here", path);
        else if (!given)
                refuse("%s refuses to run here: it returned no descriptor", path);
        else
                put_descriptor(given);
}

/* False: no more than that. */
static bool open_message(struct wire_message *m)
{
        const char *version = wire_get_text(m), *path = wire_get_text(m), *name = wire_get_text(m);
        const char *core_version = wire_get_text(m), *sandbox = wire_get_text(m);
        uint32_t interfaces = wire_get_u32(m);

        if (!wire_done(m) || !version || !path || !name || !core_version || !sandbox)
                return false;
        if (!streq(version, PRVNG_VERSION)) {
                refuse("the helper program is of version %s, the core of %s: install both packages of one "
                       "version", PRVNG_VERSION, version);
                return true;
        }
        table_set(core_version, interfaces);
        if (enter_sandbox(sandbox))
                open_plugin(path);
        return true;
}

/* --- its life --- */

static void put_table(size_t n)
{
        const struct wire_interface *f = &wire_interfaces[n];
        const void *table = the_plugin->get_interface(the_instance, f->id);
        const char *extensions = NULL;
        uint32_t head[2] = {0}, has = 0;

        if (table)
                memcpy(head, table, sizeof(head));
        if (head[0] >= f->baseline) {
                void *copy = calloc(1, f->size); /* zero where the plugin's is shorter; lives as long as we */

                if (!copy)
                        helper_end();
                memcpy(copy, table, MIN((size_t)head[0], f->size));
                for (size_t k = 0; k < f->n_members; k++) {
                        void *member;

                        memcpy(&member, (char *)copy + f->members[k], sizeof(member));
                        has |= member ? 1u << k : 0;
                }
                if (f->has_extensions)
                        extensions = ((const struct prvng_loader *)copy)->extensions;
                the_tables[n] = copy;
        }
        /* One without a size is there all the same: the core says what is wrong with it. */
        wire_put_u32(&control, table ? MAX(head[0], 1u) : 0);
        wire_put_u32(&control, head[1]);
        wire_put_u32(&control, has);
        wire_put_text(&control, extensions);
}

static bool create_message(struct wire_message *m)
{
        uint64_t n;
        const void *data = wire_get_bytes(m, &n);
        int32_t answer;

        if (!wire_done(m) || !data || !the_plugin || the_instance)
                return false;
        buf_append(&config, data, n);
        if (buf_error(&config) < 0)
                helper_end();
        answer = the_plugin->create(table_get(), buf_str(&config), config.n, &the_instance);
        wire_begin(&control, WIRE_CREATED);
        wire_put_i32(&control, answer);
        if (answer == PRVNG_DONE) {
                wire_put_u32(&control, (uint32_t)wire_n_interfaces);
                for (size_t n_ = 0; n_ < wire_n_interfaces; n_++)
                        put_table(n_);
        } else {
                the_instance = NULL;
        }
        wire_end(&control);
        flush();
        return true;
}

static bool control_message(struct wire_message *m)
{
        uint32_t number;
        int fd;

        switch (m->type) {
        case WIRE_OPEN:
                return !the_plugin && open_message(m);
        case WIRE_CREATE:
                return create_message(m);
        case WIRE_CHANNEL:
                number = wire_get_u32(m);
                fd = wire_take_fd(&control);
                if (!wire_done(m) || fd < 0)
                        return false;
                line_open(fd, number);
                return true;
        case WIRE_CANCEL:
                number = wire_get_u32(m);
                line_cancel(number, wire_get_u32(m));
                return wire_done(m);
        case WIRE_DESTROY:
                if (the_plugin)
                        the_plugin->destroy(the_instance);
                the_instance = NULL;
                wire_begin(&control, WIRE_DESTROYED);
                wire_end(&control);
                flush();
                return wire_done(m);
        default:
                return false;
        }
}

int main(int argc, char **argv)
{
        struct wire_message m;
        struct stat st;

        if (fstat(CONTROL, &st) < 0 || !S_ISSOCK(st.st_mode) || fstat(OUTSIDE, &st) < 0 ||
            !S_ISSOCK(st.st_mode)) {
                fprintf(stderr, "prvng-plugin-host: is started by prvng, for a plugin with isolation = "
                                "\"process\", and of no use by itself\n");
                return 2;
        }
        fcntl(CONTROL, F_SETFD, FD_CLOEXEC);
        fcntl(OUTSIDE, F_SETFD, FD_CLOEXEC);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGPIPE, SIG_IGN);
        pthread_mutex_init(&outside_line.lock, NULL);
        outside_line.wire = WIRE_INIT(OUTSIDE, WIRE_OUT_MAX);
        while (wire_next(&control, &m) == 0)
                if (!control_message(&m))
                        break;
        helper_end();
}
