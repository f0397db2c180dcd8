/* SPDX-License-Identifier: Apache-2.0 */
/* What tests say, and chance. */
#include "check.h"

#include "inside.h"

#include <pthread.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <time.h>

/* One message is one packet: its kind, then the text. */
static void send_packet(struct check *c, char kind, const char *format, va_list ap)
{
        char text[8192];
        ssize_t n;

        text[0] = kind;
        vsnprintf(text + 1, sizeof(text) - 1, format, ap);
        do
                n = send(c->report, text, strlen(text), MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
}

void check_fail(struct check *c, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        send_packet(c, 'F', format, ap);
        va_end(ap);
        c->failed = true;
}

void check_remark(struct check *c, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        send_packet(c, 'R', format, ap);
        va_end(ap);
}

static _Noreturn void end(struct check *c)
{
        scenario_stop(c);
        send(c->report, "D", 1, MSG_NOSIGNAL);
        _exit(0);
}

void check_stop(struct check *c, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        send_packet(c, 'F', format, ap);
        va_end(ap);
        end(c);
}

void check_skip(struct check *c, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        send_packet(c, 'S', format, ap);
        va_end(ap);
        end(c);
}

void check_step(struct check *c, const char *format, ...)
{
        static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* plugins are called from many threads */
        va_list ap;

        pthread_mutex_lock(&lock);
        va_start(ap, format);
        vsnprintf(c->shared->step, sizeof(c->shared->step), format, ap);
        va_end(ap);
        pthread_mutex_unlock(&lock);
}

/* splitmix64: any seed is good. */
uint64_t check_random(struct check *c)
{
        uint64_t z = c->random += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

size_t check_below(struct check *c, size_t n)
{
        return (size_t)(check_random(c) % n);
}

void check_mutate(struct check *c, const void *data, size_t n, struct buf *ret)
{
        buf_clear(ret);
        buf_append(ret, data, n);
        for (size_t i = 1 + check_below(c, 4); i > 0; i--) {
                size_t at = check_below(c, ret->n + 1), len = check_below(c, 16) + 1;
                struct buf tail = BUF_NULL;

                buf_append(&tail, buf_str(ret) + at, ret->n - at);
                switch (check_below(c, 4)) {
                case 0: /* cut */
                        if (ret->data)
                                ret->n = at, ret->data[at] = 0;
                        break;
                case 1: /* change */
                        if (at < ret->n)
                                ret->data[at] = (char)check_random(c);
                        break;
                case 2: /* put in */
                        if (ret->data)
                                ret->n = at;
                        while (len-- > 0)
                                buf_putc(ret, "{}[]\",:0e-\\tn/ \xff"[check_below(c, 17)]);
                        buf_append(ret, buf_str(&tail), tail.n);
                        break;
                default: /* double */
                        buf_append(ret, buf_str(&tail), tail.n);
                }
                buf_deinit(&tail);
        }
}

int64_t check_now_ms(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_BOOTTIME, &ts);
        return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

void check_sleep_ms(int64_t ms)
{
        struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

        while (ms > 0 && nanosleep(&ts, &ts) < 0 && errno == EINTR)
                ;
}

static const struct test *const groups[] = {
        file_tests,    load_tests,  instance_tests, op_tests,       scenario_tests, crash_tests,
        pending_tests, store_tests, loader_tests,   template_tests, secret_tests,
};

void tests_visit(bool (*visit)(const struct test *t, void *userdata), void *userdata)
{
        for (size_t i = 0; i < N_ELEMENTS(groups); i++)
                for (const struct test *t = groups[i]; t->name; t++)
                        if (!visit(t, userdata))
                                return;
}

const struct test *tests_find(const char *name)
{
        for (size_t i = 0; i < N_ELEMENTS(groups); i++)
                for (const struct test *t = groups[i]; t->name; t++)
                        if (streq(t->name, name))
                                return t;
        return NULL;
}
