/** Entry `tfserving/warmup`: warm-up files of model servers, recordings of live calls, and the TFRecord files that both are. */
export { crc32c, maskedCrc32c } from "./crc32c.js";
export type { Severity, Signatures } from "./record-problems.js";
export { createRecorder, type Recorder, type RecorderOptions, type RecorderStats } from "./recorder.js";
export {
  type ReplayClient,
  type ReplayOptions,
  readRecording,
  replayRecord,
  type WarmupRecordsOptions,
  warmupRecordsFrom,
} from "./recording.js";
export { type ReadTFRecordsOptions, readTFRecords, TFRecordWriter } from "./tfrecord.js";
export { type Finding, type ValidateWarmupFileOptions, validateWarmupFile } from "./validate.js";
export { readWarmupFile, type WriteWarmupFileOptions, type WrittenWarmupFile, writeWarmupFile } from "./warmup-file.js";
export {
  type CallRecord,
  type CallRecordLike,
  type ClassifyRecord,
  classifyRecord,
  type ExampleRecordOptions,
  type MultiInferenceRecord,
  multiInferenceRecord,
  type PredictRecord,
  type PredictRecordOptions,
  predictRecord,
  type RegressRecord,
  regressRecord,
  type UnusableRecord,
  type WarmupRecord,
  type WarmupRecordLike,
} from "./warmup-record.js";
