/** Our words for the model server's configuration (`ModelServerConfig`, tensorflow_serving/config/model_server_config.proto). */

/** Which models a server serves: what `reloadConfig` takes. It replaces the whole list. */
export interface ModelServerConfig {
  readonly models: readonly ModelConfig[];
}

/** Which versions of a model are served: the newest n, these, or all. */
export type VersionPolicy = { readonly latest: number } | { readonly specific: readonly bigint[] } | "all";

/** One model of a {@link ModelServerConfig}. */
export interface ModelConfig {
  readonly name: string;
  /** Folder of the version folders, as the server sees it. */
  readonly basePath: string;
  /** Normally `"tensorflow"`; a model without a platform fails to load. */
  readonly modelPlatform?: string;
  /** Deprecated upstream, kept as read. */
  readonly modelType?: string;
  /** @defaultValue the newest version */
  readonly versionPolicy?: VersionPolicy;
  /** Versions by label. */
  readonly versionLabels?: Readonly<Record<string, bigint>>;
  /** Request logging, kept as read; the stock server cannot log and refuses it. */
  readonly loggingConfig?: unknown;
}
