/* The services of the default catalog, as the REST contract lists them.
 *
 * Which are repeatable: document-processing, vision-ocr and ner-extraction compute an answer
 * from the request and keep nothing. llm-inference does too, but a generation takes long and
 * costs a GPU, and when GPU workers fail under load, repeating what they were doing on the
 * ones that are left spreads the failure. rag-embeddings and notes-coa take documents in, the
 * storage services are all about keeping things, and behind the edge services is everything:
 * a POST to one of those may have had its effect before the connection broke.
 *
 * The edge services have paths of their own, everything below /: a worker has them under /service/NAME. */

#include "services/assigner/catalog_default.h"

#include <stddef.h>

#define GPU MUSTER__V1__WORKER_TYPE__WORKER_TYPE_GPU
#define CPU MUSTER__V1__WORKER_TYPE__WORKER_TYPE_CPU
#define STORAGE MUSTER__V1__WORKER_TYPE__WORKER_TYPE_STORAGE
#define EDGE MUSTER__V1__WORKER_TYPE__WORKER_TYPE_EDGE

static const struct catalog_default_service services[] = {
    {"llm-inference", GPU, 1, 8105, "llm", false, ""},
    {"vision-ocr", GPU, 1, 8104, "ocr", true, ""},
    {"rag-embeddings", GPU, 2, 8102, "rag", false, ""},
    {"ner-extraction", CPU, 2, 8108, "ner", true, ""},
    {"document-processing", CPU, 2, 8103, "upload", true, ""},
    {"notes-coa", CPU, 3, 8100, "notes", false, ""},
    {"chromadb", STORAGE, 1, 8000, NULL, false, ""},
    {"redis", STORAGE, 2, 6379, NULL, false, ""},
    {"postgres", STORAGE, 3, 5432, NULL, false, ""},
    {"minio", STORAGE, 4, 9000, NULL, false, ""},
    {"neo4j", STORAGE, 5, 7474, NULL, false, ""},
    {"coordinator", EDGE, 1, 8080, NULL, false, "/service/{type}"},
    {"edge-proxy", EDGE, 1, 8787, NULL, false, "/service/{type}"},
    {"load-balancer", EDGE, 2, 8090, NULL, false, "/service/{type}"},
};

const struct catalog_default_service *catalog_default_services(size_t *count)
{
    *count = sizeof(services) / sizeof(services[0]);
    return services;
}
