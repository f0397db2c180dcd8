/* SPDX-License-Identifier: Apache-2.0 */
/* What a shared object shows without being run: dynamic symbols, constructors, flags. 64-bit files of
 * this machine; every offset is checked against the size. */
#include "inside.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct image {
        const uint8_t *data;
        uint64_t size;
        const Elf64_Ehdr *head;
};

static const void *at(const struct image *m, uint64_t offset, uint64_t n)
{
        return offset <= m->size && n <= m->size - offset ? m->data + offset : NULL;
}

static const Elf64_Shdr *section(const struct image *m, uint32_t type, const char *name)
{
        const Elf64_Shdr *all = at(m, m->head->e_shoff, (uint64_t)m->head->e_shnum * sizeof(*all));
        const Elf64_Shdr *names = all && m->head->e_shstrndx < m->head->e_shnum ? &all[m->head->e_shstrndx] : NULL;

        for (uint32_t i = 0; names && i < m->head->e_shnum; i++) {
                const char *s = at(m, names->sh_offset + all[i].sh_name, 1);

                if (all[i].sh_type == type &&
                    (!name || (s && strncmp(s, name, names->sh_size - MIN(names->sh_size, all[i].sh_name)) == 0)))
                        return &all[i];
        }
        return NULL;
}

static void read_symbols(const struct image *m, struct elf *e)
{
        const Elf64_Shdr *table = section(m, SHT_DYNSYM, NULL), *texts = NULL;
        const Elf64_Shdr *all = at(m, m->head->e_shoff, (uint64_t)m->head->e_shnum * sizeof(*all));
        const Elf64_Sym *s;

        if (table && table->sh_link < m->head->e_shnum)
                texts = &all[table->sh_link];
        s = table ? at(m, table->sh_offset, table->sh_size) : NULL;
        if (!s || !texts || !at(m, texts->sh_offset, texts->sh_size)) {
                e->error = strdup("has no table of dynamic symbols (was its section header table removed?)");
                return;
        }
        for (uint64_t i = 1; i < table->sh_size / sizeof(*s); i++) {
                const char *name = s[i].st_name < texts->sh_size
                                           ? (const char *)m->data + texts->sh_offset + s[i].st_name
                                           : "";
                bool is_visible = ELF64_ST_VISIBILITY(s[i].st_other) != STV_HIDDEN &&
                                  ELF64_ST_VISIBILITY(s[i].st_other) != STV_INTERNAL;

                if (!*name || ELF64_ST_BIND(s[i].st_info) == STB_LOCAL)
                        continue;
                if (s[i].st_shndx == SHN_UNDEF)
                        json_array_append_new(e->imports, json_string(name));
                else if (is_visible && s[i].st_shndx != SHN_ABS)
                        json_array_append_new(e->exports, json_string(name));
        }
}

/* The C run time brings one constructor, frame_dummy, and one destructor. */
static void read_arrays(const struct image *m, struct elf *e)
{
        const Elf64_Shdr *init = section(m, SHT_INIT_ARRAY, NULL);
        const Elf64_Shdr *before = section(m, SHT_PREINIT_ARRAY, NULL);
        uint64_t n = init ? init->sh_size / sizeof(Elf64_Addr) : 0;

        e->n_init = (n > 1 ? (size_t)n - 1 : 0) + (before ? (size_t)(before->sh_size / sizeof(Elf64_Addr)) : 0);
}

static void read_flags(const struct image *m, struct elf *e)
{
        const Elf64_Phdr *p = at(m, m->head->e_phoff, (uint64_t)m->head->e_phnum * sizeof(*p));
        const Elf64_Shdr *dynamic = section(m, SHT_DYNAMIC, NULL);
        const Elf64_Dyn *d = dynamic ? at(m, dynamic->sh_offset, dynamic->sh_size) : NULL;

        for (uint32_t i = 0; p && i < m->head->e_phnum; i++)
                if (p[i].p_type == PT_GNU_STACK && p[i].p_flags & PF_X)
                        e->has_executable_stack = true;
        for (uint64_t i = 0; d && i < dynamic->sh_size / sizeof(*d) && d[i].d_tag != DT_NULL; i++) {
                if (d[i].d_tag == DT_TEXTREL || (d[i].d_tag == DT_FLAGS && d[i].d_un.d_val & DF_TEXTREL))
                        e->has_text_relocations = true;
                if (d[i].d_tag == DT_FLAGS_1) {
                        e->is_nodelete = d[i].d_un.d_val & DF_1_NODELETE;
                        e->is_now = d[i].d_un.d_val & DF_1_NOW;
                }
        }
}

int elf_read(const char *path, struct elf *ret)
{
        _cleanup_(cleanup_close) int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct image m = {0};
        struct stat st;
        void *data;

        *ret = (struct elf){.exports = json_array(), .imports = json_array()};
        if (fd < 0 || fstat(fd, &st) < 0)
                return error_origin(-errno);
        data = mmap(NULL, (size_t)MAX(st.st_size, (off_t)1), PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
                return error_origin(-errno);
        m = (struct image){data, (uint64_t)st.st_size, data};
        if (m.size < sizeof(*m.head) || memcmp(m.data, ELFMAG, SELFMAG) != 0 ||
            m.data[EI_CLASS] != ELFCLASS64 || m.head->e_shentsize != sizeof(Elf64_Shdr)) {
                ret->error = strdup("is no 64-bit ELF file with sections");
        } else {
                read_symbols(&m, ret);
                read_arrays(&m, ret);
                read_flags(&m, ret);
        }
        munmap(data, (size_t)MAX(st.st_size, (off_t)1));
        return 0;
}

void elf_deinit(struct elf *e)
{
        json_decref(e->exports);
        json_decref(e->imports);
        free(e->error);
}
