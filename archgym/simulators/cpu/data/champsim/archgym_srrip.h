// SRRIP as the model of the CPU has it: a fill has rank 2, a hit 0. A way of rank 3 is evicted.
#ifndef ARCHGYM_SRRIP_H
#define ARCHGYM_SRRIP_H

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cache.h"
#include "modules.h"

class archgym_srrip : public champsim::modules::replacement
{
  long ways;
  std::vector<int> ranks;

public:
  explicit archgym_srrip(CACHE* cache) : replacement(cache), ways(cache->NUM_WAY), ranks(static_cast<std::size_t>(cache->NUM_SET * cache->NUM_WAY), 3) {}

  int& rank(long set, long way) { return ranks.at(static_cast<std::size_t>(set * ways + way)); }

  long find_victim(uint32_t, uint64_t, long set, const champsim::cache_block*, champsim::address, champsim::address, access_type)
  {
    auto begin = std::next(ranks.begin(), set * ways), end = std::next(begin, ways);
    auto victim = std::max_element(begin, end);
    std::transform(begin, end, begin, [missing = 3 - *victim](int x) { return x + missing; });
    return std::distance(begin, victim);
  }

  // ChampSim calls this on misses too; they have no way.
  void update_replacement_state(uint32_t, long set, long way, champsim::address, champsim::address, champsim::address, access_type, bool hit)
  {
    if (hit)
      rank(set, way) = 0;
  }

  void replacement_cache_fill(uint32_t, long set, long way, champsim::address, champsim::address, champsim::address, access_type) { rank(set, way) = 2; }
};

#endif
