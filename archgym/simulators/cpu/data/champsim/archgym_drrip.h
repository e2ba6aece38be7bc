// DRRIP as the model of the CPU has it: leaders are every so many sets, and writes have rank 2.
#ifndef ARCHGYM_DRRIP_H
#define ARCHGYM_DRRIP_H

#include "../archgym_srrip/archgym_srrip.h"

class archgym_drrip : public champsim::modules::replacement
{
  archgym_srrip base;
  long stride;
  int selector = 512, bimodal_count = 0;

public:
  explicit archgym_drrip(CACHE* cache) : replacement(cache), base(cache), stride(std::max<long>(2, cache->NUM_SET / 32)) {}

  long find_victim(uint32_t cpu, uint64_t id, long set, const champsim::cache_block* blocks, champsim::address ip, champsim::address address, access_type type)
  {
    return base.find_victim(cpu, id, set, blocks, ip, address, type);
  }

  void update_replacement_state(uint32_t, long set, long way, champsim::address, champsim::address, champsim::address, access_type type, bool hit)
  {
    if (hit)
      base.rank(set, way) = type == access_type::WRITE ? 2 : 0;
  }

  void replacement_cache_fill(uint32_t, long set, long way, champsim::address, champsim::address, champsim::address, access_type type)
  {
    base.rank(set, way) = type == access_type::WRITE ? 2 : rank_of_new(set % stride);
  }

private:
  int rank_of_new(long leader)
  {
    bool is_bimodal = selector > 511;
    if (leader == 0) {
      selector = std::max(0, selector - 1);
      is_bimodal = true;
    } else if (leader == 1) {
      selector = std::min(1023, selector + 1);
      is_bimodal = false;
    }
    if (!is_bimodal)
      return 2;
    bimodal_count = (bimodal_count + 1) % 32;
    return bimodal_count ? 3 : 2;
  }
};

#endif
