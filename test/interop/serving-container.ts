/** TensorFlow Serving in a container, with the SavedModels of the contract suite. */
import { fileURLToPath } from "node:url";
import { PredictionClient } from "../../src/index.js";
import { contractConfig, contractFolders } from "../transport/contract-models.js";
import type { RealServer } from "../transport/contract-targets.js";

/** Which image to start, and how. */
export interface ContainerOptions {
  readonly image: string;
  /** GPUs to hand in as `docker run --gpus` does: `"all"` or a number. */
  readonly gpus?: string | undefined;
}

const modelsPath = "/models";
const configFile = `${modelsPath}/contract.config`;
const savedModels = new URL("../fixtures/saved_models/", import.meta.url);

/** Why no container can be started here; `undefined` if one can. Nothing is downloaded. */
export async function reasonAgainstContainer({ image }: ContainerOptions): Promise<string | undefined> {
  let testcontainers: typeof import("testcontainers");
  try {
    testcontainers = await import("testcontainers");
  } catch (error) {
    const isMissing = (error as { code?: unknown }).code === "ERR_MODULE_NOT_FOUND";
    return isMissing ? "testcontainers is not installed" : `testcontainers does not load (${String(error)})`;
  }
  const { getContainerRuntimeClient, ImageName } = testcontainers;
  try {
    const { image: images } = await getContainerRuntimeClient();
    return (await images.exists(ImageName.fromString(image))) ? undefined : `the image is not here: docker pull ${image}`;
  } catch (error) {
    return `no container runtime answers (${error instanceof Error ? error.message : String(error)})`;
  }
}

/** Start the server and load its models; labels come last, since they can only be set on versions that are loaded. */
export async function startServingContainer(options: ContainerOptions): Promise<RealServer & { stop(): Promise<void> }> {
  const container = await (await configured(options)).start();
  const [grpc, rest] = [8500, 8501].map((port) => `${container.getHost()}:${container.getMappedPort(port)}`) as [string, string];
  const stop = async () => {
    await container.stop();
  };
  const client = new PredictionClient(grpc, { timeoutMs: 120_000 });
  try {
    const { models } = contractConfig(modelsPath);
    await client.reloadConfig({ models: models.map(({ versionLabels: _later, ...model }) => model) });
    await Promise.all(models.map(({ name }) => client.waitForModel(name)));
    await client.reloadConfig({ models });
  } catch (error) {
    await stop();
    throw error;
  } finally {
    await client.close();
  }
  return { grpc, rest, modelsPath, stop };
}

async function configured({ image, gpus }: ContainerOptions) {
  const { GenericContainer, Wait } = await import("testcontainers");
  class ServingContainer extends GenericContainer {
    /** There is no public way to ask for GPUs. */
    withGpus(count: number): this {
      this.hostConfig.DeviceRequests = [{ Count: count, Capabilities: [["gpu"]] }];
      return this;
    }
  }
  const container = new ServingContainer(image)
    .withCopyDirectoriesToContainer(
      contractFolders.map((folder) => ({ source: fileURLToPath(new URL(folder, savedModels)), target: `${modelsPath}/${folder}` })),
    )
    .withCopyContentToContainer([{ content: "model_config_list {}\n", target: configFile }])
    .withCommand([`--model_config_file=${configFile}`])
    .withExposedPorts(8500, 8501)
    .withWaitStrategy(Wait.forListeningPorts())
    .withStartupTimeout(120_000);
  return gpus === undefined ? container : container.withGpus(gpus === "all" ? -1 : Number(gpus));
}
