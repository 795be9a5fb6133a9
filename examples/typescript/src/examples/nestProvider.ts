/** The job runner of a NestJS application: a ComfyUI pod when COMFYUI_POD_URL is set, Modal when MODAL_WORKSPACE is set, else RunPod. */
import type { FactoryProvider, OnModuleDestroy, Type } from "@nestjs/common";
import { ModuleRef } from "@nestjs/core";
import { ModalJobRunner, type JobRunnerOptions, type RunPodJobRunner } from "../jobRunner.js";

export const JOB_RUNNER = "JOB_RUNNER";

/** The adapters that the application has already. */
export interface Adapters {
  pod: Type<RunPodJobRunner>;
  runpod: Type<RunPodJobRunner>;
}

export class ModalJobRunnerAdapter extends ModalJobRunner implements OnModuleDestroy {
  constructor(options?: JobRunnerOptions) {
    super(undefined, options); // the token, the workspace and the checkpoints are those of the environment
  }

  onModuleDestroy(): void {
    this.close();
  }
}

/** Only the adapter that is chosen is made, with what its module injects into it; the options are those of Modal's. */
export function jobRunnerProvider({ pod, runpod }: Adapters, options?: JobRunnerOptions): FactoryProvider<RunPodJobRunner> {
  const useFactory = (module: ModuleRef): RunPodJobRunner | Promise<RunPodJobRunner> => {
    if (process.env["COMFYUI_POD_URL"]) return module.create(pod);
    return process.env["MODAL_WORKSPACE"] ? new ModalJobRunnerAdapter(options) : module.create(runpod);
  };
  return { provide: JOB_RUNNER, inject: [ModuleRef], useFactory };
}
