// Sends requests at their times to Ramulator 2.1 as a library, and prints when all were served.
//
//     driver memory.yaml requests.txt BURST_BYTES
//
// A line of requests.txt is `TICK R|W ADDRESS REQUEST`: a burst is offered once its tick is reached,
// up to eight in a tick, and the first that is refused ends the offers of the tick. Bursts of one
// request have the same number, and it is served with the last of them.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "ramulator/base/config.h"
#include "ramulator/base/factory.h"
#include "ramulator/base/request.h"
#include "ramulator/frontend/i_frontend.h"
#include "ramulator/memory_system/i_memory_system.h"

struct Burst {
  long due;
  bool is_write;
  long address;
  size_t request;
};

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  auto config = Ramulator::Config::parse_config_file(argv[1]);
  auto* front = Ramulator::Factory::create_frontend(config);
  auto* memory = Ramulator::Factory::create_memory_system(config);
  front->connect_memory_system(memory);
  memory->connect_frontend(front);

  std::vector<Burst> bursts;
  std::ifstream file(argv[2]);
  Burst read;
  char kind;
  while (file >> read.due >> kind >> read.address >> read.request) {
    read.is_write = kind == 'W';
    bursts.push_back(read);
  }
  const int bytes = std::atoi(argv[3]);
  const int width = 8;
  const size_t n_requests = bursts.empty() ? 0 : bursts.back().request + 1;
  std::vector<long> due(n_requests, -1), done(n_requests, 0);
  std::vector<bool> is_write(n_requests);
  long clock = 0;
  size_t next = 0, served = 0;
  while (served < bursts.size()) {
    for (int offers = 0; offers < width && next < bursts.size(); ++offers, ++next) {
      const Burst& burst = bursts[next];
      if (burst.due > clock) break;
      if (due[burst.request] < 0) due[burst.request] = burst.due;
      is_write[burst.request] = burst.is_write;
      auto answer = [&, request = burst.request](Ramulator::Request& sent) {
        done[request] = std::max<long>(done[request], sent.depart < 0 ? clock : sent.depart);
        ++served;
      };
      if (!front->receive_external_requests(burst.is_write, burst.address, 0, answer, bytes)) break;
    }
    ++clock;
    memory->tick();
  }
  // Latencies are those of reads, or of writes where there are no reads.
  double sum = 0, count = 0;
  const bool any_read = std::count(is_write.begin(), is_write.end(), false) > 0;
  for (size_t i = 0; i < n_requests; ++i) {
    if (any_read && is_write[i]) continue;
    sum += done[i] - due[i];
    ++count;
  }
  std::printf("total_ticks: %ld\nmean_latency_ticks: %.9f\n", clock, count > 0 ? sum / count : 0.0);
  return 0;
}
