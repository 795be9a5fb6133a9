"""Right and wrong calls, for the type checkers: an ``error`` comment marks each line that they must refuse, and no other."""

from __future__ import annotations

from pathlib import Path

from ryla_gen import AsyncClient, Client, FluxDev, FluxLora, Generation, Job, Lora, Wan2


def plain(client: Client) -> None:
    generation: Generation = client.flux_dev(prompt="a fox", steps=28)
    client.flux_dev(prompt="a fox", speed="turbo", seed=None)
    client.flux(prompt="a fox", width=512, height=512)
    client.instantid(prompt="a fox", reference_image=Path("face.png"))
    client.instantid(prompt="a fox", reference_image=b"...")
    client.wan2(prompt="a fox", length=33, model="14B")
    client.seedvr2(image="in.png", scale=2)
    client.run(FluxDev(prompt="a fox"), timeout=60)
    client.flux_lora(prompt="a fox", loras=(Lora("ada", 0.5),))
    client.flux_lora(prompt="a fox", loras=[Lora("ada", 0.5), Lora("ink")])
    generation.save("fox.png")
    job: Job = client.submit(FluxDev(prompt="a fox"))
    job.result().image.show()

    client.flux_dev()  # error: prompt is missing
    client.flux_dev(prompt=3)  # error: not a string
    client.flux_dev(prompt="a fox", steps="28")  # error: not a number
    client.flux_dev(prompt="a fox", stepz=28)  # error: no such field
    client.flux_dev(prompt="a fox", speed="fast")  # error: not a choice
    client.flux_lora(prompt="a fox", loras=["ada"])  # error: a name is no Lora
    client.flux(prompt="a fox", guidance=3.5)  # error: schnell has no guidance
    client.instantid(prompt="a fox")  # error: the face is missing
    client.run(FluxDev(prompt="a fox"), steps=3)  # error: fields belong to the workflow
    client.run("a fox")  # error: not a workflow
    wrong: int = client.flux_dev(prompt="a fox")  # error: a generation, not a number
    print(wrong)


async def awaited(client: AsyncClient) -> None:
    generation: Generation = await client.flux_dev(prompt="a fox", steps=28)
    print(generation.seed)
    again: Generation = await client.run(FluxLora(prompt="a fox", lora_id="ada"))
    print(again.cost.total_usd)
    async for result in client.map([FluxDev(prompt="a fox"), Wan2(prompt="a fox")]):
        print(result)

    await client.flux_dev(prompt="a fox", steps="28")  # error: not a number
    lost: Generation = client.flux_dev(prompt="a fox")  # error: not awaited
    print(lost)


def requests() -> None:
    FluxDev(prompt="a fox", width=512)
    print(FluxDev(prompt="a fox").steps + 1)
    FluxDev(promt="a fox")  # error: no such field
    FluxDev(prompt="a fox", cfg="high")  # error: not a number
    Wan2(prompt="a fox", format="gif")  # error: not a choice
