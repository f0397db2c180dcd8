/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The note is looked for in the PT_NOTE segments, which the loader itself uses and no strip(1)
 * removes; the section header table may be gone or lie.
 */
#include "plugin/note.h"

#include "base/buf.h"
#include "base/json.h"
#include "config/capability.h"
#include <prvng/plugin.h>

#include <elf.h>
#include <sys/stat.h>

enum { SEGMENTS_MAX = 256, NOTES_MAX = 1 << 20, HEAD = 4096 };

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define NATIVE_DATA ELFDATA2LSB
#else
#define NATIVE_DATA ELFDATA2MSB
#endif

struct image {
        int fd;
        uint64_t size;
        const char *reason; /* first thing found wrong */
        uint64_t n_head;
        uint8_t head[HEAD]; /* where headers and notes nearly always are: read at once */
};

static bool read_at(struct image *m, uint64_t offset, void *data, uint64_t n)
{
        ssize_t k;

        if (offset > m->size || n > m->size - offset) {
                m->reason = "is cut off, or no sound ELF file";
                return false;
        }
        if (offset <= m->n_head && n <= m->n_head - offset) {
                memcpy(data, m->head + offset, n);
                return true;
        }
        do
                k = pread(m->fd, data, n, (off_t)offset);
        while (k < 0 && errno == EINTR);
        if (k != (ssize_t)n)
                m->reason = "cannot be read";
        return k == (ssize_t)n;
}

struct segment {
        uint32_t type;
        uint64_t offset, size, align;
};

/* The program header number i, of either class. */
static bool read_segment(struct image *m, bool wide, uint64_t table, uint32_t i, struct segment *s)
{
        Elf64_Phdr w;
        Elf32_Phdr n;

        if (wide) {
                if (!read_at(m, table + i * sizeof(w), &w, sizeof(w)))
                        return false;
                *s = (struct segment){w.p_type, w.p_offset, w.p_filesz, w.p_align};
        } else {
                if (!read_at(m, table + i * sizeof(n), &n, sizeof(n)))
                        return false;
                *s = (struct segment){n.p_type, n.p_offset, n.p_filesz, n.p_align};
        }
        return true;
}

/* Where the program headers are; false if this is no shared object for this byte order. */
static bool read_header(struct image *m, bool *ret_wide, uint64_t *ret_table, uint32_t *ret_n)
{
        unsigned char ident[EI_NIDENT];
        Elf64_Ehdr w;
        Elf32_Ehdr n;
        bool wide;

        if (m->size < sizeof(ident) || !read_at(m, 0, ident, sizeof(ident)) ||
            memcmp(ident, ELFMAG, SELFMAG) != 0) {
                m->reason = "is no ELF file";
                return false;
        }
        if (ident[EI_DATA] != NATIVE_DATA ||
            (ident[EI_CLASS] != ELFCLASS64 && ident[EI_CLASS] != ELFCLASS32)) {
                m->reason = "is made for another kind of machine";
                return false;
        }
        wide = ident[EI_CLASS] == ELFCLASS64;
        if (wide ? !read_at(m, 0, &w, sizeof(w)) : !read_at(m, 0, &n, sizeof(n)))
                return false;
        *ret_wide = wide;
        *ret_table = wide ? w.e_phoff : n.e_phoff;
        *ret_n = wide ? w.e_phnum : n.e_phnum;
        if ((wide ? w.e_type : n.e_type) != ET_DYN ||
            (wide ? w.e_phentsize != sizeof(Elf64_Phdr) : n.e_phentsize != sizeof(Elf32_Phdr)) ||
            *ret_table > m->size || *ret_n > SEGMENTS_MAX) {
                m->reason = "is no shared object";
                return false;
        }
        return true;
}

static uint64_t padded(uint64_t n, uint64_t align)
{
        return (n + align - 1) & ~(align - 1);
}

/* What a note of that type and owner holds, in a segment of notes; or NULL. */
static const uint8_t *find(const uint8_t *data, uint64_t n, uint64_t align, uint32_t type, const char *owner,
                           uint64_t *ret_n)
{
        uint64_t at = 0;
        Elf64_Nhdr h; /* the same in both classes */

        align = align == 8 ? 8 : 4;
        while (n - at >= sizeof(h)) {
                uint64_t name = at + sizeof(h), desc, next;

                memcpy(&h, data + at, sizeof(h));
                desc = padded(name + h.n_namesz, align);
                next = padded(desc + h.n_descsz, align); /* 32-bit sizes: no overflow in 64 bits */
                if (desc > n || h.n_descsz > n - desc)
                        return NULL;
                if (h.n_type == type && h.n_namesz == strlen(owner) + 1 &&
                    memcmp(data + name, owner, h.n_namesz) == 0) {
                        *ret_n = h.n_descsz;
                        return data + desc;
                }
                if (next > n)
                        return NULL;
                at = next;
        }
        return NULL;
}

/* `ret_wrong`: the caller's own text, where a constant one does not say it. */
static int parse(const char *text, uint64_t n, json_t **ret_note, const char **ret_reason, char **ret_wrong)
{
        static const char *const keys[] = {"abi", "kind", "id", "name", "version", "isolation"};
        _cleanup_(cleanup_json_decref) json_t *note = NULL;
        const json_t *requires;
        size_t i;
        json_t *e;
        int r;

        *ret_reason =
                "has a prvng note that is no valid JSON object with the members abi, kind, id, "
                "name, version, requires and isolation";
        r = json_parse(text, n, &note, NULL);
        if (r == -EBADMSG || !json_is_object(note))
                return 0;
        for (i = 0; i < N_ELEMENTS(keys); i++)
                if (!json_get_string(note, keys[i], "")[0])
                        return 0;
        requires = json_object_get(note, "requires");
        if (!json_is_array(requires))
                return 0;
        json_array_foreach (requires, i, e)
                if (!json_is_string(e))
                        return 0;
        if (json_object_get(note, "capabilities")) {
                _cleanup_(cleanup_free) char *wrong = NULL;

                r = capability_check(json_object_get(note, "capabilities"), &wrong);
                if (r < 0)
                        return error_fold(r);
                if (wrong && asprintf(ret_wrong, "has a prvng note whose capabilities%s", wrong) < 0) {
                        *ret_wrong = NULL;
                        return error_origin(-ENOMEM);
                }
                if (wrong)
                        return 0;
        }
        *ret_note = steal(&note);
        return 0;
}

/* Notes of a shared object: looks into each segment for that one. 0 with a copy of what it holds (caller
 * frees) or NULL. */
static int look(struct image *m, uint32_t type, const char *owner, uint8_t **ret_data, uint64_t *ret_n)
{
        uint32_t n_segments;
        struct segment s;
        uint64_t table;
        bool wide;

        *ret_data = NULL;
        if (!read_header(m, &wide, &table, &n_segments))
                return 0;
        for (uint32_t i = 0; !m->reason && i < n_segments; i++) {
                _cleanup_(cleanup_free) uint8_t *data = NULL;
                const uint8_t *found;

                if (!read_segment(m, wide, table, i, &s) || s.type != PT_NOTE || s.size > NOTES_MAX)
                        continue;
                data = malloc(s.size + 1);
                if (!data)
                        return error_origin(-ENOMEM);
                if (!read_at(m, s.offset, data, s.size))
                        continue;
                found = find(data, s.size, s.align, type, owner, ret_n);
                if (!found)
                        continue;
                memmove(data, found, *ret_n);
                *ret_data = steal(&data);
                return 0;
        }
        return 0;
}

static bool open_image(struct image *m, int fd)
{
        struct stat st;
        ssize_t n;

        m->fd = fd;
        m->reason = NULL;
        m->n_head = 0; /* what is behind stays as it is: clearing it costs more than most of the rest */
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
                m->reason = "is no file";
                return false;
        }
        m->size = (uint64_t)st.st_size;
        n = pread(fd, m->head, sizeof(m->head), 0);
        m->n_head = n > 0 ? MIN((uint64_t)n, m->size) : 0; /* else read_at() says what is wrong */
        return true;
}

int note_build_id(int fd, char **ret_hex)
{
        _cleanup_(cleanup_buf) struct buf hex = BUF_NULL;
        _cleanup_(cleanup_free) uint8_t *data = NULL;
        struct image m;
        uint64_t n = 0;
        int r = open_image(&m, fd) ? look(&m, NT_GNU_BUILD_ID, ELF_NOTE_GNU, &data, &n) : 0;

        *ret_hex = NULL;
        if (r < 0 || !data)
                return error_fold(r);
        buf_hex(&hex, data, MIN(n, (uint64_t)64));
        *ret_hex = buf_steal(&hex);
        return *ret_hex ? 0 : error_origin(-ENOMEM);
}

int note_read(int fd, json_t **ret_note, char **ret_reason)
{
        _cleanup_(cleanup_free) uint8_t *data = NULL;
        _cleanup_(cleanup_free) char *wrong = NULL;
        struct image m;
        json_t *note = NULL;
        uint64_t n = 0;
        int r = open_image(&m, fd) ? look(&m, PRVNG_NOTE_TYPE, PRVNG_NOTE_OWNER, &data, &n) : 0;

        if (r == 0 && data)
                r = parse((const char *)data, strnlen((const char *)data, n), &note, &m.reason, &wrong);
        if (r < 0)
                return error_fold(r);
        if (!note) {
                *ret_reason = wrong ? steal(&wrong)
                                    : strdup(m.reason ? m.reason : "is no prvng plugin: it has no ELF note "
                                                                   "\"prvng\"");
                if (!*ret_reason)
                        return error_origin(-ENOMEM);
        }
        *ret_note = note;
        return 0;
}
