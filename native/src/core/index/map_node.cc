#include "core/index/map_node.h"

#include "core/index/page_cache.h"

namespace cloudfs {

NodeRef::NodeRef(const NodeRef& other) : node_(other.node_) {
  if (node_ != nullptr) ++node_->count_;
}

NodeRef::~NodeRef() {
  if (node_ != nullptr && --node_->count_ == 0) node_->cache_->doom(node_);
}

Entry Slot::place() const {
  return node ? node->place() : entry;
}

NodeRef* MapNode::children() {
  return reinterpret_cast<NodeRef*>(entries() + cache_->fan());
}

Slot MapNode::slot(uint32_t index) {
  return {entries()[index].unpack(), children()[index]};
}

}  // namespace cloudfs
