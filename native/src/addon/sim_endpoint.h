// `SimEndpoint`: the shipped endpoint of an attached volume, driven by JavaScript, which plays its clients and its routes.
#pragma once

#include <napi.h>

#include <deque>
#include <optional>
#include <vector>

#include "bridge/endpoint.h"

namespace cloudfs::addon {

class SimEndpoint final : public Napi::ObjectWrap<SimEndpoint>, private bridge::Clients {
 public:
  static Napi::Function define(Napi::Env env);
  explicit SimEndpoint(const Napi::CallbackInfo& info);

 private:
  /// What went out over a route: a request, or that a refusal was seen.
  struct Sent {
    uint64_t route = 0;
    std::optional<ClientOp> op;
    uint64_t seen = 0;
  };
  class SimRoute final : public bridge::Route {
   public:
    SimRoute(SimEndpoint& owner, uint64_t number) : owner_(owner), number_(number) {}
    void send(const ClientOp& op) override { owner_.sent_.push_back({number_, op, 0}); }
    void seen(uint64_t sequence) override { owner_.sent_.push_back({number_, std::nullopt, sequence}); }

   private:
    SimEndpoint& owner_;
    uint64_t number_;
  };

  void deliver(Reply reply) override { delivered_.push_back(std::move(reply)); }

  Napi::Value submit(const Napi::CallbackInfo& info);
  Napi::Value route(const Napi::CallbackInfo& info);
  Napi::Value lost(const Napi::CallbackInfo& info);
  Napi::Value answer(const Napi::CallbackInfo& info);
  Napi::Value end(const Napi::CallbackInfo& info);
  Napi::Value take(const Napi::CallbackInfo& info);

  SimRoute& route_of(const Napi::Value& value);

  bridge::Endpoint endpoint_{*this};
  std::deque<SimRoute> routes_;  // all there ever were: one that is over may still bring answers
  std::vector<Sent> sent_;
  std::vector<Reply> delivered_;
};

}  // namespace cloudfs::addon
