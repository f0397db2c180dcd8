/* SPDX-License-Identifier: Apache-2.0 */
/* What is round about a snapshot: where it stands, whether it fits, and reading streams by it. */
#include "journal/snapshot.h"

#include "journal/seal.h"
#include "journal/snapshot-parts.h"

#define MAGIC "prvngsnp"
#define N_DIGEST 32

/* Writing */

static void pack_place(struct buf *b, const struct mark *p)
{
        pack_u64(b, p->segment);
        if (!p->segment)
                return;
        pack_u64(b, p->from);
        pack_u64(b, p->end);
        pack_u64(b, p->seal);
        pack_u64(b, p->seq);
        buf_append(b, p->salt, sizeof(p->salt));
        buf_append(b, p->after, sizeof(p->after));
        buf_append(b, p->digest, sizeof(p->digest));
}

struct snapshot_making {
        struct site *site;
        struct run *run; /* NULL: the site's */
        struct packing packing;
        struct buf bytes;
        struct sha256_steps *digest; /* of the first n_digested */
        size_t n_digested;
};

const struct buf *snapshot_bytes(const struct snapshot_making *m)
{
        return &m->bytes;
}

static void begin(struct buf *b, const struct stream *s)
{
        assert(s->n_pending == 0 && s->last.segment && s->last.seq == s->seq);
        BUF_LIT(b, MAGIC);
        pack_u64(b, SNAPSHOT_VERSION);
        pack_string(b, PRVNG_VERSION);
        pack_string(b, s->name);
        pack_place(b, &s->last);
        pack_place(b, &s->plan);
}

struct snapshot_making *snapshot_making_free(struct snapshot_making *m)
{
        if (!m)
                return NULL;
        sha256_end(m->digest, NULL);
        buf_deinit(&m->bytes);
        free(m);
        return NULL;
}

int snapshot_begin(const struct stream *s, struct site *site, struct run *run,
                   struct snapshot_making **ret_making)
{
        struct snapshot_making *m = calloc(1, sizeof(*m));

        if (!m)
                return error_origin(-ENOMEM);
        assert(run ? run->planned && run->seq == s->seq && s->plan.segment : site->seq == s->seq);
        *m = (struct snapshot_making){.site = site, .run = run, .digest = sha256_begin()};
        begin(&m->bytes, s);
        *ret_making = m;
        return 0;
}

int snapshot_go_on(struct snapshot_making *m, uint32_t n)
{
        uint8_t digest[N_DIGEST];
        size_t from = m->bytes.n;
        bool done = m->run ? pack_run(&m->bytes, m->site, m->run, &m->packing, n)
                           : pack_site(&m->bytes, m->site, &m->packing, n);

        if (!m->n_digested)
                from = 0;
        if (buf_error(&m->bytes) || sha256_add(m->digest, m->bytes.data + from, m->bytes.n - from))
                return error_origin(buf_error(&m->bytes) ?: -EIO);
        m->n_digested = m->bytes.n;
        if (!done)
                return 0;
        if (sha256_end(steal(&m->digest), digest))
                return error_origin(-EIO);
        buf_append(&m->bytes, digest, sizeof(digest));
        return buf_error(&m->bytes) ?: 1;
}

/* All at once. */
static int make(const struct stream *s, struct site *site, struct run *run, struct buf *ret)
{
        struct snapshot_making *m = NULL;
        int q = snapshot_begin(s, site, run, &m);

        while (q == 0)
                q = snapshot_go_on(m, UINT32_MAX);
        if (q > 0) {
                *ret = m->bytes;
                m->bytes = BUF_NULL;
        }
        snapshot_making_free(m);
        return q > 0 ? 0 : q;
}

int snapshot_of_site(const struct stream *s, struct site *site, struct buf *ret)
{
        return make(s, site, NULL, ret);
}

int snapshot_of_run(const struct stream *s, struct site *site, struct run *run, struct buf *ret)
{
        return make(s, site, run, ret);
}

int snapshot_put(struct stream *s, const struct buf *snapshot)
{
        struct journal *j = s->journal;
        struct store_call c;

        store_call_begin(j, &c);
        return store_call_end(j, &c, s->name,
                              j->plugin->store.snapshot_put(j->plugin->instance, &c.call.pub,
                                                            s->name, snapshot->data, snapshot->n,
                                                            j->epoch));
}

int snapshot_put_part(struct stream *s, const struct buf *snapshot, size_t from, size_t n)
{
        struct journal *j = s->journal;
        bool last = from + n == snapshot->n;
        struct store_call c;

        if (!j->plugin->store.snapshot_part)
                return last ? snapshot_put(s, snapshot) : 0;
        store_call_begin(j, &c);
        return store_call_end(j, &c, s->name,
                              j->plugin->store.snapshot_part(j->plugin->instance, &c.call.pub, s->name,
                                                             snapshot->data + from, n, from, last,
                                                             j->epoch));
}

/* Reading */

static void unpack_place(struct unpack *u, struct mark *p)
{
        *p = (struct mark){.segment = unpack_u32(u)};
        if (!p->segment)
                return;
        p->from = unpack_u64(u);
        p->end = unpack_u64(u);
        p->seal = unpack_u64(u);
        p->seq = unpack_u64(u);
        unpack_bytes(u, p->salt, sizeof(p->salt));
        unpack_bytes(u, p->after, sizeof(p->after));
        unpack_bytes(u, p->digest, sizeof(p->digest));
}

/* Is it whole, of this version and of this stream? Then *ret_body begins behind its head. */
static bool fits(const struct buf *b, const char *stream, struct shortcut *ret_by,
                 struct unpack *ret_body)
{
        struct unpack u = {.p = buf_str(b)};
        uint8_t digest[N_DIGEST];

        if (b->n < sizeof(MAGIC) - 1 + N_DIGEST || memcmp(u.p, MAGIC, sizeof(MAGIC) - 1) != 0)
                return false;
        u.end = u.p + b->n - N_DIGEST;
        if (sha256(u.p, (size_t)(u.end - u.p), digest) || memcmp(digest, u.end, N_DIGEST) != 0)
                return false;
        u.p += sizeof(MAGIC) - 1;
        if (unpack_u64(&u) != SNAPSHOT_VERSION || !span_eq(unpack_span(&u), PRVNG_VERSION) ||
            !span_eq(unpack_span(&u), stream))
                return false;
        unpack_place(&u, &ret_by->at);
        unpack_place(&u, &ret_by->plan);
        *ret_body = u;
        return !u.bad;
}

struct folding {
        struct journal *journal;
        struct site *site;
        struct run *run;    /* NULL: the site's stream */
        bool touched;       /* something was applied */
        struct unpack body;
        struct shortcut by;
};

static int fold(void *userdata, const struct record *r, const char *line, size_t n_line)
{
        struct folding *f = userdata;

        f->touched = true;
        return f->run ? run_apply(f->run, f->site, r) : site_apply(f->site, r);
}

static int arrive(void *userdata)
{
        struct folding *f = userdata;
        int q;

        f->touched = true;
        if (!f->run) {
                q = unpack_site(&f->body, f->site);
                f->site->seq = f->by.at.seq;
        } else {
                q = unpack_run(&f->body, f->by.at.seq > f->run->settled_seq ? f->site : NULL, f->run,
                               f->by.at.seq);
                f->run->seq = f->by.at.seq;
        }
        return q;
}

/* The snapshot of the stream, or NULL if there is none that fits. */
static const struct shortcut *find(struct folding *f, const char *stream, struct buf *snapshot)
{
        struct journal *j = f->journal;
        struct prvng_sink sink = SINK(snapshot, UINT64_MAX);
        struct store_call c;
        int q;

        if (j->in_full)
                return NULL;
        store_call_begin(j, &c);
        q = store_call_end(j, &c, stream,
                           j->plugin->store.snapshot_get(j->plugin->instance, &c.call.pub, stream,
                                                         &sink));
        f->by.arrive = arrive;
        if (q || !fits(snapshot, stream, &f->by, &f->body))
                return NULL;
        return &f->by;
}

/* By the snapshot, or else in full; `open` NULL: without changing anything. */
static int read_folding(struct folding *f, const char *stream, struct stream **open)
{
        _cleanup_(cleanup_buf) struct buf snapshot = BUF_NULL;
        const struct shortcut *by = find(f, stream, &snapshot);
        int q;

        for (;; by = NULL) {
                q = open ? stream_open_by(f->journal, stream, by, fold, f, open)
                         : journal_read_by(f->journal, stream, by, fold, f);
                if (!by || (q != JOURNAL_E_SHORTCUT && q != -EBADMSG))
                        return q;
                if (f->touched)
                        return JOURNAL_E_SHORTCUT;
        }
}

int site_open_stream(struct journal *j, struct site *site, struct stream **ret_stream)
{
        return read_folding(&(struct folding){.journal = j, .site = site}, "site", ret_stream);
}

int site_replay(struct journal *j, struct site *site)
{
        return read_folding(&(struct folding){.journal = j, .site = site}, "site", NULL);
}

/* A site's snapshot has the changes of records of the run: they must be there. */
static int check_settled(const struct journal *j, const struct run *run, int q)
{
        return q == 0 && run->seq < run->settled_seq && !j->in_full ? JOURNAL_E_SHORTCUT : q;
}

int run_open_stream(struct journal *j, struct site *site, struct run *run,
                    struct stream **ret_stream)
{
        struct stream *s = NULL;
        int q = read_folding(&(struct folding){.journal = j, .site = site, .run = run}, run->stream,
                             &s);

        q = check_settled(j, run, q);
        if (q)
                stream_close(s);
        else
                *ret_stream = s;
        return q;
}

int run_replay(struct journal *j, struct site *inventory, struct run *run)
{
        int q = read_folding(&(struct folding){.journal = j, .site = inventory, .run = run},
                             run->stream, NULL);

        return inventory ? check_settled(j, run, q) : q;
}
