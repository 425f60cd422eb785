#include "core/store/records_reader.h"

#include <cerrno>

#include "core/store/store.h"

namespace cloudfs {

void RecordsReader::read(Volume& volume, Lsn lsn, uint64_t bytes_max, uint64_t command) {
  jobs_.push_back({&volume, std::max(lsn, volume.first_lsn()), bytes_max, command, {}, 0});
}

void RecordsReader::fail() {
  for (const Job& job : std::exchange(jobs_, {}))
    store_.command_failed(job.command, "ERR_STORE_FAILED", "the store stopped");
  if (reader_) reader_->cancel();
  reading_ = false;
}

void RecordsReader::step() {
  while (!jobs_.empty() && !reading_) begin();
}

void RecordsReader::begin() {
  Job& job = jobs_.front();
  // A read that was cancelled still holds the reader.
  if (reader_ && reader_->in_flight()) return;
  if (job.next > job.volume->committed() || job.bytes >= job.bytes_max) return answer();
  if (job.parts.empty()) reader_.emplace(store_.io, store_.segments, store_.appender, *job.volume);
  reading_ = reader_->read(job.next, *this, true);
  if (!reading_) refuse("ERR_HISTORY_GONE", "the log no longer holds records from there on");
}

void RecordsReader::on_runs(std::vector<Run>& runs, int error) {
  reading_ = false;
  if (jobs_.empty()) return;
  Job& job = jobs_.front();
  if (error == ENODATA) return refuse("ERR_HISTORY_GONE", "the log no longer holds records from there on");
  if (error != 0) return refuse("ERR_BLOCK_CORRUPT", "the log cannot be read there");
  for (Run& run : runs) {
    if (run.view.last_lsn() > job.volume->committed() || job.bytes >= job.bytes_max) return answer();
    job.next = run.view.last_lsn() + 1;
    job.bytes += run.bytes.size + run.body.size;
    job.parts.push_back(std::move(run.bytes));
    if (run.body.size > 0) job.parts.push_back(std::move(run.body));
  }
}

void RecordsReader::answer() {
  Job& job = jobs_.front();
  BufferRef payload(static_cast<size_t>(job.bytes));
  size_t at = 0;
  for (const Slice& part : job.parts) {
    std::memcpy(payload.data() + at, part.data, part.size);
    at += part.size;
  }
  store_.command_payload(job.command, "{\"nextLsn\":" + std::to_string(job.next) + "}",
                         {payload, payload.data(), at});
  jobs_.pop_front();
}

void RecordsReader::refuse(const char* code, const char* message) {
  // What was read before is answered; the next question gets the error.
  if (!jobs_.front().parts.empty()) return answer();
  store_.command_failed(jobs_.front().command, code, message);
  jobs_.pop_front();
}

}  // namespace cloudfs
