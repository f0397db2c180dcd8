// SPDX-License-Identifier: Apache-2.0
//
// The provider "files" in C++17: servers are files in a folder, one for each.
//
// What it shows: an instance as an object; exceptions that end at the border; what a plugin does so that the
// engine may die at any instruction: the op id that made or changed a server is written with it, in one step,
// so that a second begin() is harmless and observe() finds out what became of the first.

#include <prvng/prvng.h>

#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <jansson.h>
#include <memory>
#include <string>
#include <string_view>
#include <unistd.h>

// A process of its own: the run time of C++ has constructors, and brings symbols along.
PRVNG_PLUGIN_NOTE("provider", "org.example.prvng.files-cpp", "files-cpp", "0.1.0", "[]", "process");

namespace {

const prvng_host *host; // given by the entry, valid for ever

// --- JSON, owned ---

struct Decref {
        void operator()(json_t *o) const { json_decref(o); }
};
using Json = std::unique_ptr<json_t, Decref>;

Json parse(const void *text, uint64_t n)
{
        return Json(json_loadb(static_cast<const char *>(text), n, JSON_REJECT_DUPLICATES, nullptr));
}

std::string text_of(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));

        return s ? s : "";
}

// --- answers ---

// Thrown anywhere in an operation, told to the host at the border.
struct Failure {
        int32_t error_class;
        uint32_t effect;
        std::string message;
        const char *field = nullptr;
};

Failure no_effect(int32_t error_class, std::string message, const char *field = nullptr)
{
        return {error_class, PRVNG_EFFECT_NONE, std::move(message), field};
}

int32_t tell(prvng_call *call, const Failure &f)
{
        prvng_error e = {};

        e.struct_size = sizeof(e);
        e.error_class = f.error_class;
        e.retry_after_ms = -1;
        e.effect = f.effect;
        e.message = f.message.c_str();
        e.field = f.field;
        host->error(call, &e);
        return f.error_class;
}

// No exception may leave a plugin: what calls it is C.
template <typename Body> int32_t at_border(prvng_call *call, Body body)
{
        try {
                return body();
        } catch (const Failure &f) {
                return tell(call, f);
        } catch (const std::exception &e) {
                return tell(call, {PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN, e.what()});
        }
}

void write(prvng_sink *sink, const json_t *o)
{
        std::unique_ptr<char, decltype(&std::free)> s(json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS), std::free);

        if (!s || host->sink_write(sink, s.get(), std::strlen(s.get())) != 0)
                throw Failure{PRVNG_INTERNAL, PRVNG_EFFECT_UNKNOWN, "the answer could not be written"};
}

// --- the folder ---

// What stands in a server's file: the request that made it, "op_id" that made it, and "changed_by", the op id
// that changed it last.
class Folder {
public:
        explicit Folder(std::filesystem::path path) : path_(std::move(path))
        {
                std::filesystem::create_directories(path_);
        }

        Json read(const std::string &name) const
        {
                return Json(json_load_file(file(name).c_str(), 0, nullptr));
        }

        // Whole or not at all: a reader never sees half a file, and a crash leaves the old one.
        void write(const std::string &name, const json_t *o) const
        {
                auto temporary = path_ / ("." + name);
                std::unique_ptr<char, decltype(&std::free)> s(json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS),
                                                              std::free);
                int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
                auto n = s ? static_cast<ssize_t>(std::strlen(s.get())) : -1;
                bool ok = fd >= 0 && s && ::write(fd, s.get(), static_cast<size_t>(n)) == n && fsync(fd) == 0;

                if (fd >= 0)
                        close(fd);
                if (!ok || rename(temporary.c_str(), file(name).c_str()) != 0 || !sync())
                        throw Failure{PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN,
                                      file(name).string() + " cannot be written: " + std::strerror(errno)};
        }

        void remove(const std::string &name) const
        {
                if (unlink(file(name).c_str()) != 0 || !sync())
                        throw Failure{PRVNG_TRANSIENT, PRVNG_EFFECT_UNKNOWN,
                                      file(name).string() + " cannot be removed: " + std::strerror(errno)};
        }

        Json list(const json_t *filter) const
        {
                Json all(json_array());

                for (const auto &e : std::filesystem::directory_iterator(path_)) {
                        if (e.path().extension() != ".json" || e.path().filename().string()[0] == '.')
                                continue;
                        Json o = read(e.path().stem().string());
                        if (!o || !carries(o.get(), filter))
                                continue;
                        json_array_append_new(
                                all.get(),
                                json_pack("{s:s, s:s, s:s, s:s, s:{s:s}}", "kind", text_of(o.get(), "kind").c_str(),
                                          "name", text_of(o.get(), "name").c_str(), "op_id",
                                          text_of(o.get(), "op_id").c_str(), "workflow",
                                          text_of(o.get(), "workflow").c_str(), "identity", "id",
                                          text_of(o.get(), "op_id").c_str()));
                }
                return all;
        }

private:
        std::filesystem::path path_;

        std::filesystem::path file(const std::string &name) const { return path_ / (name + ".json"); }

        bool sync() const
        {
                int fd = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                bool ok = fd >= 0 && fsync(fd) == 0;

                if (fd >= 0)
                        close(fd);
                return ok;
        }

        static bool carries(const json_t *o, const json_t *filter)
        {
                for (const char *mark : {"kind", "op_id", "workflow", "site"})
                        if (!text_of(filter, mark).empty() && text_of(filter, mark) != text_of(o, mark))
                                return false;
                return true;
        }
};

const Folder &folder_of(void *instance)
{
        return *static_cast<const Folder *>(instance);
}

// --- operations ---

// A name becomes a file name.
bool is_name(const std::string &s)
{
        static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

        return !s.empty() && s.size() <= 200 && s[0] != '.' && s.find_first_not_of(allowed) == std::string::npos;
}

void known_verb(const char *verb)
{
        std::string_view v = verb;

        if (v != "create" && v != "update" && v != "delete" && v != "check")
                throw no_effect(PRVNG_UNSUPPORTED, "the verbs are create, update, delete and check");
}

const json_t *spec_of(const json_t *o)
{
        return json_object_get(o, "spec");
}

Json request_of(const void *request, uint64_t n)
{
        Json q = parse(request, n);

        if (json_integer_value(json_object_get(q.get(), "format")) != 1 || !is_name(text_of(q.get(), "name")) ||
            !json_is_object(spec_of(q.get())))
                throw no_effect(PRVNG_PERMANENT, "not a request of this plugin");
        return q;
}

// What the core keeps of a server, and hands to what builds on it.
Json result_of(const json_t *there)
{
        Json r(json_deep_copy(spec_of(there)));

        json_object_set_new(r.get(), "name", json_string(text_of(there, "name").c_str()));
        json_object_set_new(r.get(), "id", json_string(text_of(there, "op_id").c_str()));
        json_object_set_new(r.get(), "state", json_string("running"));
        json_object_set_new(r.get(), "addresses", json_array());
        return r;
}

bool as_wanted(const json_t *there, const json_t *q)
{
        return there && json_equal(spec_of(there), spec_of(q));
}

// The request holds all that begin() needs; the core journals it before begin() may act.
int32_t prepare(void *, prvng_call *call, const char *verb, const void *task, uint64_t n, prvng_sink *request)
{
        return at_border(call, [&] {
                Json o = parse(task, n), q(json_pack("{s:i}", "format", 1));

                known_verb(verb);
                if (!is_name(text_of(o.get(), "name")))
                        throw no_effect(PRVNG_PERMANENT, "a server's name has up to 200 of A-Z a-z 0-9 - _ .", "name");
                if (!json_is_object(spec_of(o.get())))
                        throw no_effect(PRVNG_PERMANENT, "a task has a spec", "spec");
                for (const char *key : {"kind", "name", "workflow", "site", "spec"})
                        if (json_t *value = json_object_get(o.get(), key))
                                json_object_set(q.get(), key, value);
                write(request, q.get());
                return PRVNG_DONE;
        });
}

int32_t check(const json_t *there, const json_t *q, prvng_sink *result)
{
        Json drift(json_array());
        const char *key;
        json_t *wanted;

        if (as_wanted(there, q)) {
                write(result, result_of(there).get());
                return PRVNG_UNCHANGED;
        }
        if (!there)
                json_array_append_new(drift.get(), json_pack("{s:s, s:s, s:s}", "attribute", "state", "wanted",
                                                             "present", "found", "absent"));
        json_object_foreach (const_cast<json_t *>(there ? spec_of(q) : nullptr), key, wanted) {
                json_t *found = json_object_get(spec_of(there), key);

                if (!found || !json_equal(found, wanted))
                        json_array_append_new(drift.get(), json_pack("{s:s, s:O, s:O?}", "attribute", key, "wanted",
                                                                     wanted, "found", found));
        }
        json_object_foreach (const_cast<json_t *>(there ? spec_of(there) : nullptr), key, wanted)
                if (!json_object_get(spec_of(q), key))
                        json_array_append_new(drift.get(), json_pack("{s:s, s:n, s:O}", "attribute", key, "wanted",
                                                                     "found", wanted));
        write(result, Json(json_pack("{s:O}", "drift", drift.get())).get());
        return PRVNG_DONE;
}

int32_t remove(const Folder &folder, const json_t *there, const std::string &name, prvng_sink *result)
{
        if (there)
                folder.remove(name);
        write(result, Json(json_object()).get());
        return there ? PRVNG_DONE : PRVNG_UNCHANGED;
}

int32_t make(const Folder &folder, const prvng_call *call, bool is_create, const json_t *there, json_t *q,
             prvng_sink *result)
{
        if (as_wanted(there, q)) {
                write(result, result_of(there).get());
                return text_of(there, "changed_by") == call->op_id ? PRVNG_DONE : PRVNG_UNCHANGED;
        }
        if (there && is_create)
                throw no_effect(PRVNG_CONFLICT, "there is another server named " + text_of(q, "name"));
        if (!there && !is_create)
                throw no_effect(PRVNG_NOT_FOUND, "there is no server named " + text_of(q, "name"));
        json_object_set_new(q, "op_id", json_string(there ? text_of(there, "op_id").c_str() : call->op_id));
        json_object_set_new(q, "changed_by", json_string(call->op_id));
        folder.write(text_of(q, "name"), q);
        write(result, result_of(q).get());
        return PRVNG_DONE;
}

// Acts. What takes longer than a second would be PENDING: a token, and an answer to poll().
int32_t begin(void *instance, prvng_call *call, const char *verb, const void *request, uint64_t n, prvng_sink *,
              prvng_sink *result)
{
        return at_border(call, [&] {
                Json q = request_of(request, n);
                std::string name = text_of(q.get(), "name");
                std::string_view v = verb;

                known_verb(verb);
                if (host->is_cancelled(call))
                        throw no_effect(PRVNG_CANCELLED, "cancelled before anything was done");
                Json there = folder_of(instance).read(name);
                if (v == "check")
                        return check(there.get(), q.get(), result);
                if (v == "delete")
                        return remove(folder_of(instance), there.get(), name, result);
                return make(folder_of(instance), call, v == "create", there.get(), q.get(), result);
        });
}

// What became of this op id? Asked after a crash, before anything is begun again.
int32_t observe(void *instance, prvng_call *call, const char *verb, const void *request, uint64_t n, const void *,
                uint64_t, prvng_sink *, prvng_sink *result)
{
        return at_border(call, [&] {
                Json q = request_of(request, n), there = folder_of(instance).read(text_of(q.get(), "name"));
                std::string_view v = verb;

                known_verb(verb);
                if (v == "delete" ? there != nullptr
                                  : v == "check" || !there || text_of(there.get(), "changed_by") != call->op_id)
                        return PRVNG_OBSERVED_NOT_STARTED;
                write(result, there ? result_of(there.get()).get() : Json(json_object()).get());
                return PRVNG_OBSERVED_DONE;
        });
}

int32_t read_state(void *instance, prvng_call *call, const void *task, uint64_t n, prvng_sink *result)
{
        return at_border(call, [&] {
                Json o = parse(task, n), there;
                std::string name = text_of(o.get(), "name");

                if (is_name(name))
                        there = folder_of(instance).read(name);
                if (!there)
                        throw no_effect(PRVNG_NOT_FOUND, "there is no server named " + name);
                write(result, result_of(there.get()).get());
                return PRVNG_DONE;
        });
}

// All that carries our marks: how orphans and surplus are found.
int32_t list(void *instance, prvng_call *call, const void *filter, uint64_t n, prvng_sink *result)
{
        return at_border(call, [&] {
                Json f = parse(filter, n), all = folder_of(instance).list(f.get());

                write(result, Json(json_pack("{s:O}", "resources", all.get())).get());
                return PRVNG_DONE;
        });
}

int32_t describe(void *, prvng_sink *result)
{
        static const char text[] = R"({"resources": [{"kind": "server", "verbs": ["create", "update", "delete", "check"],
 "undo": ["create", "update"], "spec": {"type": "object"}, "update": {"cpu": "live", "memory": "live"}}]})";

        return host->sink_write(result, text, sizeof(text) - 1) == 0 ? PRVNG_DONE : PRVNG_INTERNAL;
}

// --- instances ---

int32_t create(const prvng_host *h, const void *config, uint64_t n, void **ret_instance)
{
        try {
                Json o = parse(config, n);
                std::string folder = text_of(o.get(), "folder");

                if (folder.empty() || folder[0] != '/') {
                        h->log(h, PRVNG_LOG_ERROR, "config", "files-cpp: set config.folder to an absolute path");
                        return PRVNG_PERMANENT;
                }
                *ret_instance = new Folder(folder);
                return PRVNG_DONE;
        } catch (const std::exception &e) {
                h->log(h, PRVNG_LOG_ERROR, "config", e.what());
                return PRVNG_PERMANENT;
        }
}

void destroy(void *instance)
{
        delete static_cast<Folder *>(instance);
}

constexpr prvng_op make_op()
{
        prvng_op op = {};

        op.struct_size = sizeof(op);
        op.prepare = prepare;
        op.begin = begin;
        op.observe = observe;
        op.read = read_state;
        op.list = list;
        op.describe = describe;
        return op;
}
constexpr prvng_op op = make_op();

const void *get_interface(void *, const char *id)
{
        return std::strcmp(id, PRVNG_OP) == 0 || std::strcmp(id, PRVNG_PROVIDER) == 0 ? &op : nullptr;
}

constexpr prvng_plugin make_plugin()
{
        prvng_plugin p = {};

        p.struct_size = sizeof(p);
        p.abi_minor = PRVNG_ABI_MINOR;
        p.id = "org.example.prvng.files-cpp";
        p.name = "files-cpp";
        p.kind = "provider";
        p.version = "0.1.0";
        p.description = "Servers that are files; an example in C++";
        p.licence = "Apache-2.0";
        p.threads = PRVNG_THREADS_PARALLEL; // an instance is never changed, and every server has its own file
        p.dependencies = R"({"requires_network": false, "network_before_servers": false, "shared_resources": [],
 "api_rate_limit": 0, "batch_size": 8})";
        p.create = create;
        p.destroy = destroy;
        p.get_interface = get_interface;
        return p;
}
constexpr prvng_plugin plugin = make_plugin();

} // namespace

int32_t prvng_plugin_v1(const prvng_host *h, const prvng_plugin **ret_plugin)
{
        host = h;
        *ret_plugin = &plugin;
        return PRVNG_DONE;
}
