/* SPDX-License-Identifier: Apache-2.0 */
/* What the plugin can do, for describe(). */
#include "aws.h"

#define TEXT      "{\"type\":\"string\"}"
#define TEXTS     "{\"type\":\"array\",\"items\":" TEXT "}"
#define COMMON    "\"verbs\":[\"create\",\"update\",\"delete\",\"check\"],\"undo\":[\"create\",\"update\"],"

const char aws_description[] =
        "{\"resources\":[{\"kind\":\"server\"," COMMON
        "\"spec\":{\"type\":\"object\",\"properties\":{"
        "\"name\":" TEXT ","
        "\"cpu\":{\"type\":\"number\",\"exclusiveMinimum\":0,\"default\":1,\"description\":\"cores, at least\"},"
        "\"memory\":{\"type\":\"integer\",\"minimum\":1,\"default\":1024,\"description\":\"MiB, at least\"},"
        "\"disk\":{\"type\":\"integer\",\"minimum\":1,\"description\":\"GiB of the root volume\"},"
        "\"plan\":{\"type\":\"string\",\"description\":\"instance type, e.g. t3.small; instead of cpu and memory\"},"
        "\"image\":{\"type\":\"string\",\"default\":\"debian-12\",\"description\":\"ami-..., or a name\"},"
        "\"zone\":" TEXT ",\"networks\":" TEXTS ",\"security_groups\":" TEXTS ","
        "\"labels\":{\"type\":\"object\",\"additionalProperties\":" TEXT "},"
        "\"ssh_keys\":" TEXTS ","
        "\"state\":{\"enum\":[\"running\",\"stopped\"],\"default\":\"running\"},"
        "\"aws\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
        "\"image_owners\":" TEXTS ",\"instance_profile\":" TEXT ",\"key_name\":" TEXT ","
        "\"state\":{\"enum\":[\"running\",\"stopped\"]},\"subnet\":" TEXT ",\"user\":" TEXT ",\"user_data\":" TEXT ","
        "\"volume_type\":{\"type\":\"string\",\"default\":\"gp3\"},"
        "\"volumes\":{\"type\":\"array\",\"maxItems\":10,\"items\":{\"type\":\"object\",\"required\":[\"size\"],"
        "\"properties\":{\"size\":{\"type\":\"integer\",\"minimum\":1},\"type\":" TEXT "}}},"
        "\"zones\":" TEXTS "}}}},"
        "\"update\":{\"labels\":\"live\",\"security_groups\":\"live\",\"state\":\"live\",\"disk\":\"live\","
        "\"cpu\":\"restart\",\"memory\":\"restart\",\"plan\":\"restart\",\"image\":\"replace\",\"zone\":\"replace\","
        "\"networks\":\"replace\",\"ssh_keys\":\"replace\",\"aws\":\"replace\"}},"
        "{\"kind\":\"network\"," COMMON
        "\"spec\":{\"type\":\"object\",\"properties\":{"
        "\"name\":" TEXT ",\"address\":{\"type\":\"string\",\"description\":\"IPv4, /16 to /28; else 10.88.0.0/16\"},"
        "\"zone\":" TEXT ",\"zones\":" TEXTS ","
        "\"aws\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
        "\"public\":{\"type\":\"boolean\",\"default\":true}}}}},"
        "\"update\":{\"zone\":\"live\",\"zones\":\"live\",\"aws\":\"live\",\"address\":\"replace\"}},"
        "{\"kind\":\"security_group\"," COMMON
        "\"spec\":{\"type\":\"object\",\"properties\":{"
        "\"name\":" TEXT ",\"rules\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{"
        "\"direction\":{\"enum\":[\"in\",\"out\"]},\"protocol\":{\"enum\":[\"tcp\",\"udp\",\"icmp\",\"any\"]},"
        "\"port\":{\"type\":\"integer\"},\"ports\":" TEXT ",\"source\":" TEXT ",\"destination\":" TEXT ","
        "\"action\":{\"enum\":[\"accept\"]}}}},"
        "\"aws\":{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{\"vpc\":" TEXT ","
        "\"members\":{\"type\":\"boolean\",\"default\":true}}}}},"
        "\"update\":{\"rules\":\"live\",\"aws\":\"replace\",\"aws.members\":\"live\"}},"
        "{\"kind\":\"credential\",\"verbs\":[\"update\"],\"undo\":[],\"spec\":{\"type\":\"object\"},\"update\":{}}"
        "]}";
