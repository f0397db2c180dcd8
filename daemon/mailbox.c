/* SPDX-License-Identifier: Apache-2.0 */
#include "mailbox.h"

#define NEWS_MAX ((size_t)8 << 20)     /* bytes; records above it are dropped and read again */
#define PROGRESS_MAX ((size_t)64 << 10) /* bytes of news above which progress is dropped */

int mailbox_init(struct mailbox *m)
{
        int r = pthread_mutex_init(&m->lock, NULL);

        if (r != 0)
                return error_origin(-r);
        m->first = NULL;
        m->last = &m->first;
        m->news = 0;
        m->overflow = false;
        return 0;
}

void mailbox_deinit(struct mailbox *m)
{
        struct mail *next;

        for (struct mail *i = m->first; i; i = next) {
                next = i->next;
                free(i);
        }
        m->first = NULL;
        m->last = &m->first;
        pthread_mutex_destroy(&m->lock);
}

static struct mail *mail_new(enum mail_type type, const void *data, size_t n_data)
{
        struct mail *i = malloc(sizeof(*i) + n_data + 1);

        if (!i)
                return NULL;
        *i = (struct mail){.type = type, .n = n_data};
        if (n_data)
                memcpy(i->data, data, n_data);
        i->data[n_data] = 0;
        return i;
}

static bool push(struct mailbox *m, struct mail *i)
{
        bool was_empty = !m->first;

        *m->last = i;
        m->last = &i->next;
        return was_empty;
}

bool mailbox_answer(struct mailbox *m, void *request, int status, const void *body, size_t n_body)
{
        struct mail *i = mail_new(MAIL_ANSWER, body, n_body);
        bool wake;

        if (!i) {
                status = 503;
                i = mail_new(MAIL_ANSWER, NULL, 0);
        }
        if (!i)
                return false;
        i->request = request;
        i->status = status;
        pthread_mutex_lock(&m->lock);
        wake = push(m, i);
        pthread_mutex_unlock(&m->lock);
        return wake;
}

bool mailbox_news(struct mailbox *m, enum mail_type type, const char *run, uint64_t seq,
                  const void *data, size_t n_data)
{
        size_t limit = type == MAIL_PROGRESS ? PROGRESS_MAX : NEWS_MAX;
        struct mail *i = NULL;
        bool wake = false;

        pthread_mutex_lock(&m->lock);
        if (m->news + n_data <= limit)
                i = mail_new(type, data, n_data);
        if (i) {
                i->seq = seq;
                snprintf(i->run, sizeof(i->run), "%s", run);
                m->news += n_data;
                wake = push(m, i);
        } else if (type == MAIL_RECORD) {
                wake = !m->overflow;
                m->overflow = true;
        }
        pthread_mutex_unlock(&m->lock);
        return wake;
}

struct mail *mailbox_take(struct mailbox *m, bool *ret_overflow)
{
        struct mail *first;

        pthread_mutex_lock(&m->lock);
        first = m->first;
        m->first = NULL;
        m->last = &m->first;
        m->news = 0;
        *ret_overflow = m->overflow;
        m->overflow = false;
        pthread_mutex_unlock(&m->lock);
        return first;
}
