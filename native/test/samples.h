// Values and bytes that several codec tests start from. Everything is made from small numbers, so that golden bytes can
// be told apart by eye.
#pragma once

#include <string>
#include <vector>

#include "core/format/batch.h"
#include "core/format/chain.h"
#include "core/format/checkpoint_codec.h"
#include "core/format/payload.h"
#include "core/format/run.h"
#include "core/format/segment_header.h"
#include "core/format/superblock.h"

namespace cloudfs::samples {

/// An id of twenty bytes `first`, `first` + 1, …
template <class Id>
Id id(uint8_t first) {
  Id id;
  for (uint8_t& byte : id.bytes) byte = first++;
  return id;
}

inline Stamp stamp(uint8_t fill = 0x5a) {
  Stamp stamp;
  stamp.fill(fill);
  return stamp;
}

/// Blocks whose bytes depend on `seed` and position; no block is zero.
inline std::vector<uint8_t> blocks(size_t count, uint8_t seed) {
  std::vector<uint8_t> bytes(count * kBlockBytes);
  for (size_t index = 0; index < bytes.size(); ++index)
    bytes[index] = static_cast<uint8_t>(seed + index * 7 + index / kBlockBytes);
  return bytes;
}

inline Superblock superblock() {
  Superblock superblock;
  superblock.segment_log2 = 20;
  superblock.store = id<StoreId>(0x10);
  superblock.host = id<HostId>(0x30);
  superblock.generation = 2;
  superblock.sequence = 77;
  superblock.segment_limit = 512;
  superblock.checkpoint = {9, 8, 5, 0xdeadbeef};
  superblock.checkpoint_bytes = 5000;
  superblock.checkpoint_physical = 5;
  superblock.checkpoint_height = 1;
  superblock.starts = 3;
  return superblock;
}

inline SegmentHeader segment_header() {
  SegmentHeader header;
  header.logical = 9;
  header.store = id<StoreId>(0x10);
  header.physical = 5;
  header.generation = 2;
  header.first_sequence = 1234;
  header.kind = SegmentKind::user;
  header.start = 3;
  return header;
}

inline ViewPayload view_payload() {
  ViewPayload view;
  view.stamp_hash = stamp_hash(stamp());
  view.primary = id<HostId>(0x30);
  view.lease_ms = 500;
  view.members = {{id<HostId>(0x30), id<StoreId>(0x10), MemberRole::data, {1, 2, 3}},
                  {id<HostId>(0x50), id<StoreId>(0x70), MemberRole::witness, {}}};
  return view;
}

inline CreatePayload create_payload() {
  CreatePayload create;
  create.size_bytes = uint64_t{8} << 30;
  create.mode = Mode::durable;
  create.name = "disk \xc3\xa9";
  create.nonce.fill(0x77);
  create.view = view_payload();
  return create;
}

inline RunHeader run_header(RunType type, Lsn first_lsn = 0) {
  RunHeader header;
  header.type = type;
  header.volume = id<VolumeId>(0x90);
  header.epoch = {4, id<HostId>(0x30)};
  header.first_lsn = first_lsn;
  header.commit_lsn = 6;
  header.session.fill(0x99);
  return header;
}

inline std::vector<uint8_t> to_vector(ByteSpan bytes) {
  return {bytes.begin(), bytes.end()};
}

struct BuiltRun {
  std::vector<uint8_t> bytes;
  std::vector<uint8_t> body;
  RunHeader header;
  ChainLink last;
};

/// Lsns 7 to 9: two blocks; a trim and a zeroed range; three blocks of which the middle one is zeros. The record before
/// has token id(0xc0).
inline BuiltRun write_run() {
  BuiltRun built;
  std::vector<uint8_t> out(4096);
  RunBuilder run(out, run_header(RunType::records, 7));
  ChainLink link{id<Token>(0xc0), {}};
  const auto advance = [&](const RecordView& record) { link = link_record(stamp(), run.header(), record); };

  const std::vector<uint8_t> first = blocks(2, 1);
  advance(run.add_write(link.token, 41, 100, first));
  built.body.insert(built.body.end(), first.begin(), first.end());

  const Extent extents[] = {{0, 16, ExtentKind::trimmed}, {20, 4, ExtentKind::zeroed}};
  advance(run.add_extents(link.token, 42, extents));

  std::vector<uint8_t> third = blocks(3, 2);
  std::fill_n(third.begin() + kBlockBytes, kBlockBytes, uint8_t{0});
  advance(run.add_write(link.token, 43, kBlockCountMax - 3, third));
  built.body.insert(built.body.end(), third.begin(), third.begin() + kBlockBytes);
  built.body.insert(built.body.end(), third.begin() + 2 * kBlockBytes, third.end());

  built.bytes = to_vector(run.finish(link.public_id));
  built.header = run.header();
  built.last = link;
  return built;
}

/// A volume's first record and a snapshot, a resize, a mode, an attach, a deletion behind it; header.volume is its id.
inline BuiltRun control_run() {
  BuiltRun built;
  const CreatePayload create = create_payload();
  // The volume's id is not known before its first record is: built twice.
  VolumeId volume;
  for (int pass = 0; pass < 2; ++pass) {
    std::vector<uint8_t> out(4096);
    RunHeader header = run_header(RunType::records, 1);
    header.volume = volume;
    header.commit_lsn = 0;
    RunBuilder run(out, header);
    ChainLink link;
    const auto add = [&](RecordKind kind, const std::vector<uint8_t>& payload) {
      link = link_record(stamp(), run.header(), run.add_control(kind, 0, link.token, 0, payload));
    };
    add(RecordKind::create, encode_create(create));
    volume.bytes = link.public_id.bytes;
    add(RecordKind::snapshot, encode_snapshot_name("before upgrade"));
    add(RecordKind::snapshot_remove, encode_snapshot_name("old"));
    add(RecordKind::resize, encode_resize(uint64_t{16} << 30));
    add(RecordKind::mode, encode_mode(Mode::quorum));
    add(RecordKind::attach, {1, 2, 3, 4, 5});
    add(RecordKind::remove, {});
    built.bytes = to_vector(run.finish(link.public_id));
    built.header = run.header();
    built.last = link;
  }
  return built;
}

inline BuiltRun moved_run() {
  BuiltRun built;
  std::vector<uint8_t> out(4096);
  RunBuilder run(out, run_header(RunType::moved));
  built.body = blocks(2, 9);
  run.add_moved({5, 6, 3, 12, sum_block(built.body.data())});
  run.add_moved(
      {kBlockCountMax - 1, kLsnMax, 0xffffffff, 0xffff, sum_block(built.body.data() + kBlockBytes)});
  built.bytes = to_vector(run.finish());
  built.header = run.header();
  return built;
}

inline BuiltRun local_run() {
  BuiltRun built;
  std::vector<uint8_t> out(4096);
  RunBuilder run(out, run_header(RunType::local));
  const Stamp secret = stamp();
  run.add_local(LocalKind::stamp, secret);
  run.add_local(LocalKind::promise, std::vector<uint8_t>(28, 0));
  run.add_local(LocalKind::commit, std::vector<uint8_t>{6, 0, 0, 0, 0, 0, 0, 0});
  run.add_local(LocalKind::boot, std::vector<uint8_t>(16, 0xb0));
  run.add_local(LocalKind::stopped, std::vector<uint8_t>{1});
  run.add_local(LocalKind::recovering, std::vector<uint8_t>{0});
  run.add_local(LocalKind::dropped, {});
  run.add_local(LocalKind::attachment, std::vector<uint8_t>{1, 2, 3, 4, 5});
  built.bytes = to_vector(run.finish());
  built.header = run.header();
  return built;
}

struct BuiltBatch {
  std::vector<uint8_t> bytes;  // with bodies
  BatchLayout layout;
};

inline BuiltBatch batch_of(const std::vector<BuiltRun>& runs, SegmentKind kind, uint8_t align_log2,
                           size_t runs_max) {
  BuiltBatch built;
  std::vector<uint8_t> out(16384);
  BatchBuilder batch(out, kind, align_log2, runs_max);
  for (const BuiltRun& run : runs) {
    std::memcpy(batch.room().data(), run.bytes.data(), run.bytes.size());
    batch.add_run(run.header);
  }
  built.layout = batch.finish({9, 8192, 3}, 1300, 1299);
  built.bytes.assign(out.begin(), out.begin() + built.layout.bodies_offset);
  for (const BuiltRun& run : runs) built.bytes.insert(built.bytes.end(), run.body.begin(), run.body.end());
  return built;
}

inline BuiltBatch user_batch() {
  return batch_of({write_run(), local_run(), control_run()}, SegmentKind::user, 12, 3);
}
inline BuiltBatch moved_batch() {
  return batch_of({moved_run(), moved_run()}, SegmentKind::moved, 10, 2);
}

/// A link of a record at `lsn` in the epoch that checkpoint() names.
inline std::vector<uint8_t> sample_link(Lsn lsn) {
  ByteWriter link;
  link.id(id<Token>(0xc0));
  link.u64(4);
  link.id(id<HostId>(0x30));
  link.u64(lsn);
  link.zeros(16 + 8);  // session, requestSequence
  link.u8(static_cast<uint8_t>(RecordKind::remove));
  link.zeros(1 + 2);  // flags, extentCount
  link.id(id<Token>(0xe0));
  return link.take();
}

inline Checkpoint checkpoint() {
  Checkpoint checkpoint;
  checkpoint.store = {10, 1301, 1290, 8};
  checkpoint.segments = {{5,
                          9,
                          SegmentKind::user,
                          SegmentState::open,
                          65536,
                          1234,
                          1300,
                          {0xff, 0, 1},
                          {{id<VolumeId>(0x90), 7, 9}}},
                         {6, 0, SegmentKind{}, SegmentState::free, 0, 0, 0, {}, {}}};
  checkpoint.nodes = {{3,
                       0,
                       5,
                       kNodeNamed,
                       1,
                       {2, 4, 5, 0x11223344},
                       id<VolumeId>(0x90),
                       id<VersionId>(0xa0),
                       8192,
                       "s1",
                       {},
                       {}},
                      {7,
                       3,
                       9,
                       kNodeHead,
                       6,
                       {0, 0, 9, 0},
                       id<VolumeId>(0x90),
                       id<VersionId>(0xb0),
                       1 << 20,
                       "",
                       {{{2, 8, 4, 1}, 0}, {{2, 12, 5, 7}, 2}},
                       {{1, 12, 4, 2}, {1, 16, 4, 3}}},
                      {8, 0, 5, kNodeRemains, 0, {}, {}, {}, 0, "", {{{2, 16, 9, 3}, 1}}, {}}};
  CheckpointVolume volume;
  volume.id = id<VolumeId>(0x90);
  volume.head_node = 7;
  volume.size_bytes = 1 << 20;
  volume.mode = Mode::quorum;
  volume.name = "disk";
  volume.applied_lsn = 9;
  volume.applied_public = id<VersionId>(0xb0);
  volume.applied_link = sample_link(9);
  volume.epochs = {{{4, id<HostId>(0x30)}, 1}};
  volume.view = encode_view(view_payload());
  volume.create = encode_create(create_payload());
  volume.attach = {1, 2, 3, 4};
  volume.sessions = {{SessionId{1, 2, 3}, 43}};
  CheckpointVolume deleted;
  deleted.id = id<VolumeId>(0xd0);
  deleted.mode = Mode::local;
  deleted.flags = kVolumeDeleted;
  deleted.applied_link = sample_link(0);
  checkpoint.volumes = {volume, deleted};
  checkpoint.forwards = {{4, {{4, 8, 9}, {12, 12, 9}}}};
  checkpoint.locals = {
      {id<VolumeId>(0x90), {4, id<HostId>(0x30)}, LocalKind::stamp, std::vector<uint8_t>(32, 0x5a)},
      {{}, {}, LocalKind::stopped, {1}}};
  return checkpoint;
}

}  // namespace cloudfs::samples
