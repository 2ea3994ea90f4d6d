/** Entry `tfserving/saved-model`: what a SavedModel on disk says of itself, without Python or TensorFlow. */
export {
  type ReadSavedModelOptions,
  readSavedModel,
  type SavedModel,
  type SavedModelAsset,
  type SavedModelFingerprint,
  type SavedModelVariable,
} from "./read-saved-model.js";
