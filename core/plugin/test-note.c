/* SPDX-License-Identifier: Apache-2.0 */
/* The note reader against hostile files: it must answer, never read or loop beyond the file. */
#include "plugin/note.h"

#include "base/json.h"

#include <criterion/criterion.h>
#include <elf.h>
#include <sys/mman.h>

#define TEXT                                                                                       \
        "{\"abi\":\"1.0\",\"kind\":\"provider\",\"id\":\"a.b\",\"name\":\"n\",\"version\":\"1\","  \
        "\"requires\":[],\"isolation\":\"none\"}"

/* A shared object of nothing but its headers and a note. */
struct image64 {
        Elf64_Ehdr header;
        Elf64_Phdr segments[2];
        struct {
                uint32_t n_name, n_desc, type;
                char name[8];
                char desc[(sizeof(TEXT) + 3) / 4 * 4];
        } note;
};

struct image32 {
        Elf32_Ehdr header;
        Elf32_Phdr segment;
        uint8_t note[sizeof(((struct image64 *)0)->note)];
};

static void make64(struct image64 *m)
{
        *m = (struct image64){
                .header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                           .e_type = ET_DYN, .e_phoff = offsetof(struct image64, segments),
                           .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 2},
                .segments = {{.p_type = PT_LOAD},
                             {.p_type = PT_NOTE, .p_offset = offsetof(struct image64, note),
                              .p_filesz = sizeof(m->note), .p_align = 4}},
                .note = {6, sizeof(TEXT), 1, "prvng", TEXT},
        };
}

/* Reads it; the name in the note, or NULL with *ret_reason. */
static char *read_image(const void *data, size_t n, char **ret_reason)
{
        _cleanup_(cleanup_close) int fd = memfd_create("image", MFD_CLOEXEC);
        _cleanup_(cleanup_json_decref) json_t *note = NULL;

        cr_assert_eq(write(fd, data, n), (ssize_t)n);
        *ret_reason = NULL;
        cr_assert_eq(note_read(fd, &note, ret_reason), 0);
        cr_assert((note != NULL) != (*ret_reason != NULL));
        return note ? strdup(json_get_string(note, "name", "")) : NULL;
}

static void expect(const void *data, size_t n, const char *name, const char *reason)
{
        _cleanup_(cleanup_free) char *why = NULL, *found = read_image(data, n, &why);

        if (name)
                cr_assert(found && streq(found, name), "%s", why);
        else
                cr_assert(why && strstr(why, reason), "\"%s\" does not say \"%s\"", why, reason);
}

Test(note, names_a_capability_that_is_none)
{
        static const char text[] = "{\"abi\":\"1.0\",\"kind\":\"k\",\"id\":\"a.b\",\"name\":\"n\",\"version\":\"1\","
                                   "\"requires\":[],\"isolation\":\"none\",\"capabilities\":%s}";
        struct {
                Elf64_Ehdr header;
                Elf64_Phdr segment;
                uint32_t n_name, n_desc, type;
                char name[8], desc[400];
        } m = {.header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT}, .e_type = ET_DYN,
                          .e_phoff = sizeof(Elf64_Ehdr), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1},
               .segment = {.p_type = PT_NOTE, .p_offset = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr),
                           .p_filesz = 20 + sizeof(m.desc), .p_align = 4},
               .n_name = 6, .n_desc = sizeof(m.desc), .type = 1, .name = "prvng"};

        snprintf(m.desc, sizeof(m.desc), text, "{\"hosts\":[\"a.example:443\"]}");
        expect(&m, sizeof(m), "n", NULL);
        snprintf(m.desc, sizeof(m.desc), text, "{\"hosts\":[\"a.example\"]}");
        expect(&m, sizeof(m), NULL, "has a prvng note whose capabilities.hosts[0]: \"a.example\" is not accepted");
        snprintf(m.desc, sizeof(m.desc), text, "{\"hots\":[]}");
        expect(&m, sizeof(m), NULL, "capabilities: there is no \"hots\", did you mean \"hosts\"?");
}

Test(note, is_found_in_both_classes)
{
        struct image64 m;
        struct image32 s = {
                .header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
                           .e_type = ET_DYN, .e_phoff = offsetof(struct image32, segment),
                           .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = 1},
                .segment = {.p_type = PT_NOTE, .p_offset = offsetof(struct image32, note),
                            .p_filesz = sizeof(s.note), .p_align = 4}};

        make64(&m);
        expect(&m, sizeof(m), "n", NULL);
        memcpy(s.note, &m.note, sizeof(s.note));
        expect(&s, sizeof(s), "n", NULL);
}

Test(note, other_notes_before_it_are_skipped)
{
        struct {
                struct image64 m;
                uint8_t more[64];
        } x = {0};
        const uint32_t other[] = {4, 4, 1, 0x00554e47 /* "GNU" */, 7};

        make64(&x.m);
        memmove((uint8_t *)&x.m.note + sizeof(other), &x.m.note, sizeof(x.m.note));
        memcpy(&x.m.note, other, sizeof(other));
        x.m.segments[1].p_filesz += sizeof(other);
        expect(&x, sizeof(x), "n", NULL);
}

Test(note, hostile_files)
{
        struct image64 m;

        expect("", 0, NULL, "no ELF file");
        expect("\x7f" "ELF", 4, NULL, "no ELF file");
        make64(&m);
        expect(&m, sizeof(m.header) - 1, NULL, "cut off");
        expect(&m, offsetof(struct image64, note) + 8, NULL, "cut off");
        m.header.e_ident[EI_DATA] = ELFDATA2MSB;
        expect(&m, sizeof(m), NULL, "another kind of machine");
        make64(&m);
        m.header.e_type = ET_EXEC;
        expect(&m, sizeof(m), NULL, "no shared object");
        make64(&m);
        m.header.e_phoff = UINT64_MAX - 8;
        expect(&m, sizeof(m), NULL, "no shared object");
        make64(&m);
        m.header.e_phnum = 0xffff;
        expect(&m, sizeof(m), NULL, "no shared object");
        make64(&m);
        m.segments[1].p_offset = UINT64_MAX;
        expect(&m, sizeof(m), NULL, "cut off");
        make64(&m);
        m.segments[1].p_filesz = UINT64_MAX;
        expect(&m, sizeof(m), NULL, "no ELF note");
        make64(&m);
        m.note.n_desc = UINT32_MAX;
        expect(&m, sizeof(m), NULL, "no ELF note");
        make64(&m);
        m.note.n_name = UINT32_MAX;
        expect(&m, sizeof(m), NULL, "no ELF note");
        make64(&m);
        m.note.n_name = m.note.n_desc = 0;
        expect(&m, sizeof(m), NULL, "no ELF note");
        make64(&m);
        memset(m.note.desc, '[', sizeof(m.note.desc));
        expect(&m, sizeof(m), NULL, "no valid JSON object");
        make64(&m);
        memcpy(strstr(m.note.desc, "\"abi\""), "\"abj\"", 5);
        expect(&m, sizeof(m), NULL, "with the members abi");
}

/* Every byte of a sound image, changed: any answer is right, but there must be one. */
Test(note, any_changed_byte_gives_an_answer)
{
        struct image64 m;

        for (size_t i = 0; i < sizeof(m); i++) {
                for (int v = 0; v < 256; v += 51) {
                        _cleanup_(cleanup_free) char *why = NULL, *found = NULL;

                        make64(&m);
                        ((uint8_t *)&m)[i] ^= (uint8_t)(v | 1);
                        found = read_image(&m, sizeof(m), &why);
                }
        }
}
