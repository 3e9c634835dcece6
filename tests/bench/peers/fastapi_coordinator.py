"""The coordinator that Muster replaces, as the documents it started from show it.

Handlers and fields are theirs; the only change is that the clean-up runs as a task, since
a start-up handler that never returns would keep the service from starting.
"""

import asyncio
from datetime import datetime

from fastapi import FastAPI

app = FastAPI()

workers = {}  # worker_id -> worker_data
services = {}  # service_name -> [worker_ids]


@app.post("/api/worker/register")
async def register_worker(data: dict):
    worker_id = data["worker_id"]
    workers[worker_id] = {**data, "last_heartbeat": datetime.now(), "status": "online"}
    for service in data.get("services", []):
        service_name = service["name"]
        if service_name not in services:
            services[service_name] = []
        if worker_id not in services[service_name]:
            services[service_name].append(worker_id)
    return {"status": "registered", "worker_id": worker_id}


@app.post("/api/worker/heartbeat")
async def heartbeat(data: dict):
    worker_id = data["worker_id"]
    if worker_id in workers:
        workers[worker_id].update(
            {
                "last_heartbeat": datetime.now(),
                "current_load": data.get("current_load"),
                "loaded_models": data.get("loaded_models", []),
                "active_requests": data.get("active_requests", 0),
                "gpu_utilization": data.get("gpu_utilization", 0),
            }
        )
    return {"status": "ok"}


@app.get("/api/coordinator/workers")
async def get_workers():
    now = datetime.now()
    healthy = [w for w in workers.values() if (now - w["last_heartbeat"]).seconds < 90]
    return {"workers": healthy, "count": len(healthy)}


async def cleanup_stale_workers():
    while True:
        await asyncio.sleep(60)
        now = datetime.now()
        stale = [wid for wid, w in workers.items() if (now - w["last_heartbeat"]).seconds > 120]
        for wid in stale:
            workers.pop(wid, None)
            for service_list in services.values():
                if wid in service_list:
                    service_list.remove(wid)


@app.on_event("startup")
async def start():
    asyncio.create_task(cleanup_stale_workers())
