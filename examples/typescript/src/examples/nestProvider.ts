/** The job runner of a NestJS application: a ComfyUI pod when COMFYUI_POD_URL is set, Modal when MODAL_WORKSPACE is set, else RunPod. */
import type { FactoryProvider, OnModuleDestroy, Type } from "@nestjs/common";
import { ModuleRef } from "@nestjs/core";
import { ModalJobRunner, type RunPodJobRunner } from "../jobRunner.js";

export const JOB_RUNNER = "JOB_RUNNER";

/** The adapters that the application has already. */
export interface Adapters {
  pod: Type<RunPodJobRunner>;
  runpod: Type<RunPodJobRunner>;
}

export class ModalJobRunnerAdapter extends ModalJobRunner implements OnModuleDestroy {
  constructor() {
    super(); // the token, the workspace and the checkpoints are those of the environment
  }

  onModuleDestroy(): void {
    this.close();
  }
}

function chosen({ pod, runpod }: Adapters): Type<RunPodJobRunner> {
  if (process.env["COMFYUI_POD_URL"]) return pod;
  return process.env["MODAL_WORKSPACE"] ? ModalJobRunnerAdapter : runpod;
}

/** Only the adapter that is chosen is made, with what its module injects into it. */
export function jobRunnerProvider(adapters: Adapters): FactoryProvider<RunPodJobRunner> {
  return { provide: JOB_RUNNER, inject: [ModuleRef], useFactory: (module: ModuleRef) => module.create(chosen(adapters)) };
}
