#include "addon/sim_values.h"

#include <string>
#include <utility>

#include "addon/values.h"

namespace cloudfs::addon {

namespace {

using Kind = ClientOp::Kind;

constexpr std::pair<const char*, Kind> kKinds[] = {{"read", Kind::read},
                                                   {"write", Kind::write},
                                                   {"flush", Kind::flush},
                                                   {"trim", Kind::trim},
                                                   {"cache", Kind::cache},
                                                   {"write-zeroes", Kind::write_zeroes},
                                                   {"block-status", Kind::block_status}};

Kind kind_of(const Napi::Object& op) {
  const std::string name = text(op, "kind");
  for (const auto& [known, kind] : kKinds) {
    if (name == known) return kind;
  }
  throw coded_error(op.Env(), "ERR_ARGUMENT", "kind: no such op: " + name);
}

const char* name_of(Kind wanted) {
  for (const auto& [name, kind] : kKinds) {
    if (kind == wanted) return name;
  }
  return "";
}

}  // namespace

Napi::Value number(Napi::Env env, uint64_t value) {
  return Napi::Number::New(env, static_cast<double>(value));
}

ClientOp client_op_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "op");
  ClientOp op;
  op.kind = kind_of(object);
  op.client = integer_or(object, "client", 0);
  op.request = integer(object, "request");
  op.target = integer_or(object, "target", 0);
  op.offset = integer_or(object, "offset", 0);
  op.length = integer_or(object, "length", 0);
  op.fua = flag(object, "fua");
  op.no_hole = flag(object, "noHole");
  op.fast_zero = flag(object, "fastZero");
  op.payload = slice_of(object.Get("payload"), "payload");
  if (op.kind == Kind::write) op.length = op.payload.size;
  op.sequence = integer_or(object, "sequence", 0);
  return op;
}

Napi::Object client_op_object(Napi::Env env, const ClientOp& op) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("kind", Napi::String::New(env, name_of(op.kind)));
  object.Set("request", number(env, op.request));
  object.Set("offset", number(env, op.offset));
  object.Set("length", number(env, op.length));
  object.Set("fua", Napi::Boolean::New(env, op.fua));
  object.Set("noHole", Napi::Boolean::New(env, op.no_hole));
  object.Set("fastZero", Napi::Boolean::New(env, op.fast_zero));
  if (op.kind == Kind::write) object.Set("payload", to_buffer(env, op.payload.data, op.payload.size));
  object.Set("sequence", number(env, op.sequence));
  return object;
}

Napi::Object reply_object(Napi::Env env, const Reply& reply) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("client", number(env, reply.client));
  object.Set("request", number(env, reply.request));
  object.Set("error", Napi::Number::New(env, reply.error));
  Napi::Array pieces = Napi::Array::New(env, reply.pieces.size());
  for (uint32_t i = 0; i < reply.pieces.size(); ++i) {
    const Piece& piece = reply.pieces[i];
    Napi::Object item = Napi::Object::New(env);
    item.Set("bytes", number(env, piece.bytes));
    item.Set("hole", Napi::Boolean::New(env, piece.hole));
    if (!piece.hole) item.Set("data", to_buffer(env, piece.data.data, piece.data.size));
    pieces.Set(i, item);
  }
  object.Set("pieces", pieces);
  return object;
}

Reply reply_of(const Napi::Value& value) {
  const Napi::Object object = object_of(value, "reply");
  Reply reply;
  reply.request = integer(object, "request");
  // Negative: it is not answered.
  const double error = object.Get("error").ToNumber().DoubleValue();
  reply.error = error < 0 ? kUnanswered : static_cast<int>(integer(object, "error", 4095));
  const Napi::Value pieces = object.Get("pieces");
  if (!pieces.IsArray()) return reply;
  const auto list = pieces.As<Napi::Array>();
  for (uint32_t index = 0; index < list.Length(); ++index) {
    const Napi::Object item = object_of(list.Get(index), "piece");
    reply.pieces.push_back({integer(item, "bytes"), flag(item, "hole"), slice_of(item.Get("data"), "data")});
  }
  return reply;
}

}  // namespace cloudfs::addon
