// A trace in words.
#pragma once

#include <string>

#include "checker.h"
#include "model.h"

namespace cloudfs::model {

/// One line per step, then what each host holds, then what broke.
std::string trace_text(const Model& model, const Outcome<Model>& outcome);

}  // namespace cloudfs::model
