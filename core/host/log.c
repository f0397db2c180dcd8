/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What plugins say: log lines, error records' texts, and the output of their jobs.
 *
 * The text passes through unredacted, since a plugin may write no secret at all (promise 9); it is
 * only made harmless for terminals and for JSON.
 */
#include "host/services.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { LOG_TEXT_MAX = 16384 };

_Thread_local struct op_call *host_current_call;
static _Thread_local struct buf *captured;

/* Length of the valid UTF-8 character at s, or 0. */
static size_t utf8(const uint8_t *s)
{
        uint32_t c, least;
        size_t n;

        if (s[0] < 0x80)
                return 1;
        if (s[0] >= 0xc2 && s[0] < 0xe0)
                n = 2, c = s[0] & 0x1f, least = 0x80;
        else if ((s[0] & 0xf0) == 0xe0)
                n = 3, c = s[0] & 0x0f, least = 0x800;
        else if (s[0] >= 0xf0 && s[0] < 0xf5)
                n = 4, c = s[0] & 0x07, least = 0x10000;
        else
                return 0;
        for (size_t i = 1; i < n; i++) { /* stops at the NUL, which is no continuation */
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (s[i] & 0x3f);
        }
        return c < least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : n;
}

char *host_clean_text(const char *text, size_t max)
{
        const uint8_t *s = (const uint8_t *)text;
        char *clean = malloc(strnlen(text, max) + 1);
        size_t n = 0, k;

        for (; clean && *s; s += MAX(k, (size_t)1)) {
                k = utf8(s);
                if (n + MAX(k, (size_t)1) > max)
                        break;
                /* C0 without newline and tab, DEL, and C1, which terminals obey too */
                if (k == 0 || (k == 1 && (*s < 0x20 || *s == 0x7f) && *s != '\n' && *s != '\t') ||
                    (k == 2 && s[0] == 0xc2 && s[1] < 0xa0)) {
                        clean[n++] = '?';
                } else {
                        memcpy(clean + n, s, k);
                        n += k;
                }
        }
        if (clean)
                clean[n] = 0;
        return clean;
}

void host_capture_errors(struct buf *sentences)
{
        captured = sentences;
}

void host_log(const struct prvng_host *pub, int32_t level, const char *topic, const char *message)
{
        static const char *const names[] = {"error", "warning"};
        struct host_table *t = host_table_of(pub);
        const struct op_call *call = host_current_call;
        _cleanup_(cleanup_free) char *text = NULL, *word = NULL;

        if (!message || (t->host->hooks.log == NULL && level > PRVNG_LOG_WARN && !captured))
                return;
        level = MIN(MAX(level, PRVNG_LOG_ERROR), PRVNG_LOG_DEBUG);
        text = host_clean_text(message, LOG_TEXT_MAX);
        word = host_clean_text(topic ? topic : "", 64);
        if (!text || !word)
                return;
        if (captured && level == PRVNG_LOG_ERROR) {
                if (captured->n)
                        BUF_LIT(captured, "; ");
                buf_puts(captured, text);
        } else if (t->host->hooks.log) {
                t->host->hooks.log(t->host->hooks.userdata, level, t->plugin, word,
                                   call ? call->run : "", call ? call->task : "", text);
        } else if (level <= PRVNG_LOG_WARN) {
                fprintf(stderr, "prvng: %s: %s%s%s: %s\n", names[level], t->plugin,
                        word[0] ? ": " : "", word, text);
        }
}

void host_output(struct host *h, const char *run, const char *task, const void *data, size_t n_data)
{
        _cleanup_(cleanup_free) char *folder = NULL, *path = NULL;
        _cleanup_(cleanup_close) int fd = -1;

        if (h->hooks.output) {
                h->hooks.output(h->hooks.userdata, run, task, data, n_data);
                return;
        }
        folder = run[0] && task[0] ? host_run_folder(h->config, run, task) : NULL;
        if (!folder || asprintf(&path, "%s/output.log", folder) < 0)
                return;
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
        for (const char *p = data; fd >= 0 && n_data > 0;) {
                ssize_t n = write(fd, p, n_data);

                if (n < 0 && errno != EINTR)
                        return; /* a log that cannot be written stops no work */
                p += MAX(n, 0);
                n_data -= (size_t)MAX(n, 0);
        }
}
