// SHiP as the model of the CPU has it: counters by the instruction, which 64 sets train.
#ifndef ARCHGYM_SHIP_H
#define ARCHGYM_SHIP_H

#include "../archgym_srrip/archgym_srrip.h"

class archgym_ship : public champsim::modules::replacement
{
  static constexpr uint32_t PRIME = 16381;
  struct signature {
    long counter = -1; // none: filled by a write
    bool is_used = false;
  };

  archgym_srrip base;
  long ways, stride;
  std::vector<signature> signatures;
  std::vector<int> counters;

public:
  explicit archgym_ship(CACHE* cache)
      : replacement(cache), base(cache), ways(cache->NUM_WAY), stride(std::max<long>(1, cache->NUM_SET / 64)),
        signatures(static_cast<std::size_t>(cache->NUM_SET * cache->NUM_WAY)), counters(PRIME, 1)
  {
  }

  long find_victim(uint32_t cpu, uint64_t id, long set, const champsim::cache_block* blocks, champsim::address ip, champsim::address address, access_type type)
  {
    return base.find_victim(cpu, id, set, blocks, ip, address, type);
  }

  void update_replacement_state(uint32_t, long set, long way, champsim::address, champsim::address, champsim::address, access_type type, bool hit)
  {
    if (!hit || type == access_type::WRITE)
      return;
    base.rank(set, way) = 0;
    auto& own = of(set, way);
    if (own.counter >= 0 && set % stride == 0)
      count(own) = std::min(7, count(own) + 1);
    own.is_used = true;
  }

  void replacement_cache_fill(uint32_t, long set, long way, champsim::address, champsim::address ip, champsim::address, access_type type)
  {
    auto& own = of(set, way);
    if (own.counter >= 0 && !own.is_used && set % stride == 0)
      count(own) = std::max(0, count(own) - 1);
    own = {};
    base.rank(set, way) = 2;
    if (type == access_type::WRITE)
      return;
    own.counter = static_cast<long>((ip.to<uint64_t>() & 0xFFFFFFFF) % PRIME);
    if (count(own) == 0)
      base.rank(set, way) = 3;
  }

private:
  signature& of(long set, long way) { return signatures.at(static_cast<std::size_t>(set * ways + way)); }
  int& count(const signature& own) { return counters.at(static_cast<std::size_t>(own.counter)); }
};

#endif
