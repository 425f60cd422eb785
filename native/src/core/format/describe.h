// What a decoder makes of bytes, as text: for tools, for error reports, and to hold this codec and the
// TypeScript one (packages/format) against each other.
//
// The text is canonical, so that two codecs agree on bytes if and only if their texts are equal. It is one JSON
// object as JSON.stringify writes it (no white space; `"`, `\`, \b \f \n \r \t and other control characters
// escaped), or, where the bytes are refused, the error's code alone: ERR_RECORD_CORRUPT. Keys are the fields of
// docs/disk-format.md in the order of its tables, without those that say nothing of their own: magic, version,
// hashCode, crc of the structure, reserved bytes, and counts and lengths that show in what they count. Values:
//
//   u8, u16, u32                        number (kinds, modes, roles, states, flags and 0-or-1 bytes too)
//   u64, and an entry's birth           string of its decimal digits
//   ids, tokens, digests, bytes, stamps string of lower-case hex
//   text                                string
//   lists                               array
//
//   entry           {segment,slot,birth,crc}
//   superblock      {segmentLog2,storeId,hostId,generation,sequence,segmentLimit,checkpoint:ENTRY,
//                    checkpointBytes,checkpointPhysical,checkpointHeight,starts}
//   segment-header  {logical,storeId,physical,generation,firstSequence,kind,start}
//   batch           {segment,offset,sequence,syncedSequence,alignLog2,kind,start,
//                    runs:[{runOffset,bodyOffset,run:RUN}]}
//   run             {type,volume,epochHost,epochCounter,firstLsn,commitLsn,session,lastPublic} and then, by type,
//                   records:[{kind,flags,requestSequence,parent,
//                     extents:[{block,kind,count}],blocks:[{crc,digest}]}]
//                     (other kinds than write have `payload`, with its padding, for extents and blocks)
//                   moved:[{block,birth,fromSegment,fromSlot,crc,digest}]     (block and birth are u64)
//                   items:[{kind,bytes}]
//   create          {sizeBytes,mode,hasParent,nonce,parentVolume,parentLsn,parentPublic,name,view:VIEW}
//   view            {stampHash,primary,leaseMs,oldStampKnown,oldStamp,members:[{host,store,role,slice}]}
//   snapshot        {name}            resize {sizeBytes}            mode {mode}
//   checkpoint      {store:{nextLogical,nextSequence,replaySequence,nextNode},
//                    segments:[{physical,logical,kind,state,usedBytes,firstSequence,lastSequence,map,
//                      ranges:[{volume,firstLsn,lastLsn}]}],
//                    nodes:[{id,parent,lsn,flags,height,root:ENTRY,volume,public,sizeBytes,name,
//                      trees:[{entry:ENTRY,level}],tail:[ENTRY]}],
//                    volumes:[{id,headNode,sizeBytes,mode,flags,name,appliedLsn,appliedPublic,tokenKnown,token,
//                      epochs:[{counter,host,firstLsn}],view,create,sessions:[{session,lastSequence}]}],
//                    forwards:[{logical,entries:[{fromSlot,toSlot,toSegment}]}],
//                    local:[{volume,epochCounter,epochHost,kind,bytes}]}
//                     (view, create: hex of the payloads as stored)
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/base/bytes.h"

namespace cloudfs {

/// @param kind one of the names above
/// @returns the canonical text; nullopt if there is no such kind
std::optional<std::string> describe(std::string_view kind, ByteSpan bytes);

}  // namespace cloudfs
