/* Detection: parsers, the limits of containers, addresses, and a stand-in for nvidia-smi. */

#include <gtest/gtest.h>
#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

extern "C" {
#include "services/worker/command.h"
#include "services/worker/detect.h"
#include "services/worker/load.h"
}

namespace
{

namespace fs = std::filesystem;

class Folder : public testing::Test
{
  protected:
    void SetUp() override
    {
        std::string pattern = fs::temp_directory_path() / "worker-detect-XXXXXX";
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder = pattern;
        path_before = getenv("PATH");
    }

    void TearDown() override
    {
        setenv("PATH", path_before.c_str(), 1);
        fs::remove_all(folder);
    }

    void write(const std::string &path, const std::string &text)
    {
        fs::create_directories((folder + path).substr(0, (folder + path).rfind('/')));
        std::ofstream(folder + path) << text;
    }

    /* A program called nvidia-smi, first on PATH. */
    void stand_in(const std::string &script)
    {
        write("/bin/nvidia-smi", "#!/bin/sh\n" + script + "\n");
        chmod((folder + "/bin/nvidia-smi").c_str(), 0755);
        setenv("PATH", (folder + "/bin:" + path_before).c_str(), 1);
    }

    std::string folder, path_before;
};

TEST(Gpus, One)
{
    detect_gpu gpu;
    ASSERT_TRUE(detect_parse_gpus("NVIDIA GeForce RTX 4090, 24564, 37\n", &gpu));
    EXPECT_TRUE(gpu.present);
    EXPECT_STREQ(gpu.name, "NVIDIA GeForce RTX 4090");
    EXPECT_EQ(gpu.memory_mib, 24564u);
    EXPECT_EQ(gpu.utilization, 37);
}

TEST(Gpus, SeveralAreAddedUp)
{
    detect_gpu gpu;
    ASSERT_TRUE(detect_parse_gpus("Tesla T4, 15360, 100\r\nTesla T4, 15360, 50", &gpu));
    EXPECT_STREQ(gpu.name, "2 x Tesla T4");
    EXPECT_EQ(gpu.memory_mib, 30720u);
    EXPECT_EQ(gpu.utilization, 75);
}

TEST(Gpus, UnknownFiguresAndCommasInNames)
{
    detect_gpu gpu;
    ASSERT_TRUE(detect_parse_gpus("Board, model B, [N/A], [Not Supported]\n", &gpu));
    EXPECT_STREQ(gpu.name, "Board, model B");
    EXPECT_EQ(gpu.memory_mib, 0u);
    EXPECT_EQ(gpu.utilization, 0);
}

TEST(Gpus, WhatIsNoSuchListIsNoGpu)
{
    detect_gpu gpu;
    for (const char *text : {"", "\n", "No devices were found\n",
                             "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver, sorry\n",
                             "name only", ",,", ", 5, 5", "a, b, c"})
        EXPECT_FALSE(detect_parse_gpus(text, &gpu)) << text;
    EXPECT_FALSE(detect_parse_gpus((std::string(10000, 'x') + ", 1, 1").c_str(), &gpu));
}

TEST_F(Folder, GpuThroughAStandIn)
{
    stand_in("[ \"$1\" = --query-gpu=name,memory.total,utilization.gpu ] || exit 1\n"
             "[ \"$2\" = --format=csv,noheader,nounits ] || exit 1\n"
             "echo 'RTX 4090, 24564, 12'");
    detect_machine_figures machine;
    detect_machine(&machine, "", folder.c_str(), 10000);
    EXPECT_TRUE(machine.gpu.present);
    EXPECT_STREQ(machine.gpu.name, "RTX 4090");
    EXPECT_GE(machine.cores, 1u);
    EXPECT_GT(machine.memory.total_bytes, 0u);
    EXPECT_GT(machine.disk_free_bytes, 0u);
}

TEST_F(Folder, NoDriverNoGpu)
{
    setenv("PATH", folder.c_str(), 1);
    detect_machine_figures machine;
    detect_machine(&machine, "", folder.c_str(), 10000);
    EXPECT_FALSE(machine.gpu.present);
}

TEST_F(Folder, ADriverThatHangsIsGivenUpAndKilledWithItsChildren)
{
    stand_in("sleep 1000 & echo $! > " + folder + "/child; wait");
    detect_machine_figures machine;
    detect_machine(&machine, "", folder.c_str(), 300);
    EXPECT_FALSE(machine.gpu.present);
    int child = 0;
    std::ifstream(folder + "/child") >> child;
    if (child != 0) {
        /* Its parent is gone: whoever adopted it reaps it soon. */
        std::string state;
        for (int i = 0; i < 500; i++) {
            std::ifstream stat("/proc/" + std::to_string(child) + "/stat");
            std::string id, name;
            state.clear();
            stat >> id >> name >> state;
            if (state.empty() || state == "Z")
                break;
            struct timespec pause = {0, 10000000};
            nanosleep(&pause, nullptr);
        }
        EXPECT_TRUE(state.empty() || state == "Z") << state;
    }
}

TEST_F(Folder, ADriverThatTalksWithoutEndIsGivenUp)
{
    stand_in("exec yes 'RTX 4090, 24564, 12'");
    detect_machine_figures machine;
    detect_machine(&machine, "", folder.c_str(), 10000);
    EXPECT_FALSE(machine.gpu.present);
}

TEST_F(Folder, MemoryOfTheMachine)
{
    write("/proc/meminfo", "MemTotal:       65536000 kB\nMemFree: 1000 kB\nMemAvailable:   32768000 kB\n");
    detect_memory_figures memory;
    detect_memory(&memory, folder.c_str());
    EXPECT_EQ(memory.total_bytes, 65536000ull * 1024);
    EXPECT_EQ(memory.available_bytes, 32768000ull * 1024);
}

TEST_F(Folder, MemoryOfAContainer)
{
    write("/proc/meminfo", "MemTotal: 65536000 kB\nMemAvailable: 32768000 kB\n");
    write("/sys/fs/cgroup/memory.max", "2147483648\n");
    write("/sys/fs/cgroup/memory.current", "1073741824\n");
    detect_memory_figures memory;
    detect_memory(&memory, folder.c_str());
    EXPECT_EQ(memory.total_bytes, 2147483648u);
    EXPECT_EQ(memory.available_bytes, 1073741824u);

    write("/sys/fs/cgroup/memory.max", "max\n");
    detect_memory(&memory, folder.c_str());
    EXPECT_EQ(memory.total_bytes, 65536000ull * 1024);
}

TEST_F(Folder, MemoryOfAnOlderContainer)
{
    write("/proc/meminfo", "MemTotal: 65536000 kB\nMemAvailable: 32768000 kB\n");
    write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    detect_memory_figures memory;
    detect_memory(&memory, folder.c_str());
    EXPECT_EQ(memory.total_bytes, 65536000ull * 1024);
    write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000\n");
    write("/sys/fs/cgroup/memory/memory.usage_in_bytes", "2000000\n");
    detect_memory(&memory, folder.c_str());
    EXPECT_EQ(memory.total_bytes, 1000000u);
    EXPECT_EQ(memory.available_bytes, 0u);
}

TEST_F(Folder, CoresOfAContainer)
{
    uint32_t all = detect_cores(folder.c_str());
    EXPECT_GE(all, 1u);
    write("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    EXPECT_EQ(detect_cores(folder.c_str()), 1u);
    write("/sys/fs/cgroup/cpu.max", "max 100000\n");
    EXPECT_EQ(detect_cores(folder.c_str()), all);
}

TEST(Addresses, PublicOrNot)
{
    for (const char *text : {"8.8.8.8", "100.63.0.1", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.167.1.1",
                             "203.0.114.1", "2a00:1450::1", "::ffff:8.8.8.8"})
        EXPECT_TRUE(detect_address_text_public(text)) << text;
    for (const char *text : {"10.1.2.3",
                             "127.0.0.1",
                             "192.168.1.1",
                             "172.16.0.1",
                             "172.31.255.255",
                             "100.64.0.1",
                             "100.127.255.255",
                             "169.254.1.1",
                             "0.0.0.0",
                             "255.255.255.255",
                             "224.0.0.1",
                             "192.0.2.1",
                             "::1",
                             "::",
                             "fe80::1",
                             "fd00::1",
                             "fc00::1",
                             "ff02::1",
                             "2001:db8::1",
                             "::ffff:10.0.0.1",
                             "nonsense",
                             ""})
        EXPECT_FALSE(detect_address_text_public(text)) << text;
}

TEST(Edge, NeedsAddressOrNearnessAndAMinimumOfMachine)
{
    detect_machine_figures machine = {};
    machine.cores = 2;
    machine.memory.total_bytes = DETECT_EDGE_MEMORY_BYTES;
    detect_coordinator far_away = {80, true}, near = {10, true}, same_room = {0.1, false}, unknown = {0, true};
    EXPECT_FALSE(detect_has_edge(&machine, &far_away));
    EXPECT_FALSE(detect_has_edge(&machine, &same_room));
    EXPECT_FALSE(detect_has_edge(&machine, &unknown));
    EXPECT_TRUE(detect_has_edge(&machine, &near));
    machine.address_public = true;
    EXPECT_TRUE(detect_has_edge(&machine, &far_away));
    machine.cores = 1;
    EXPECT_FALSE(detect_has_edge(&machine, &near));
    machine.cores = 2;
    machine.memory.total_bytes--;
    EXPECT_FALSE(detect_has_edge(&machine, &near));
}

TEST(Sizes, AsText)
{
    auto text = [](uint64_t bytes) {
        char out[DETECT_SIZE_TEXT_BYTES];
        detect_format_size(bytes, out);
        return std::string(out);
    };
    EXPECT_EQ(text(0), "0B");
    EXPECT_EQ(text(1023), "1023B");
    EXPECT_EQ(text(64ull << 30), "64GB");
    EXPECT_EQ(text((49ull << 30) / 2), "24.5GB");
    EXPECT_EQ(text(UINT64_MAX), "16384PB");
}

TEST(Load, ReadsTheFirstLineOfStat)
{
    load_times times;
    ASSERT_TRUE(load_parse_stat("cpu  10 20 30 400 50 6 7 8 9 10\ncpu0 1 1 1 1\n", &times));
    EXPECT_EQ(times.total, 531u);
    EXPECT_EQ(times.busy, 81u);
    ASSERT_TRUE(load_parse_stat("cpu 1 2 3 4\n", &times));
    EXPECT_FALSE(load_parse_stat("cpu0 1 2 3 4\n", &times));
    EXPECT_FALSE(load_parse_stat("", &times));
}

TEST(Load, ShareIsBetweenZeroAndOne)
{
    load_times before = {100, 1000}, after = {150, 1100}, back = {90, 1200};
    EXPECT_EQ(load_share(&before, &after), 0.5);
    EXPECT_EQ(load_share(&after, &before), 0);
    EXPECT_EQ(load_share(&before, &before), 0);
    EXPECT_EQ(load_share(&before, &back), 0);
}

TEST_F(Folder, LoadIsTheScarcestThing)
{
    write("/proc/stat", "cpu 0 0 0 0\n");
    write("/proc/meminfo", "MemTotal: 2048 kB\nMemAvailable: 1024 kB\n");
    load_sampler sampler = {};
    load_sample_figures sample;
    detect_gpu gpu = {};
    load_sample(&sampler, folder.c_str(), 0, 10, &gpu, &sample);
    EXPECT_EQ(sample.current_load, 0);
    EXPECT_STREQ(sample.available_memory, "1MB");
    write("/proc/stat", "cpu 30 0 0 70\n");
    load_sample(&sampler, folder.c_str(), 2, 10, &gpu, &sample);
    EXPECT_EQ(sample.current_load, 0.3);
    load_sample(&sampler, folder.c_str(), 5, 10, &gpu, &sample);
    EXPECT_EQ(sample.current_load, 0.5);
    gpu.present = true;
    gpu.utilization = 90;
    load_sample(&sampler, folder.c_str(), 5, 10, &gpu, &sample);
    EXPECT_EQ(sample.current_load, 0.9);
    load_sample(&sampler, folder.c_str(), 20, 10, &gpu, &sample);
    EXPECT_EQ(sample.current_load, 1);
}

} // namespace
