"""NAVSIM's metric caches, logs and maps as swerve.v1.Scene (proto/swerve/v1/scene.proto).

Reads attributes of the official objects alone; which they are: metric_cache.py of NAVSIM v1.1 and v2, the frames of an
OpenScene log, nuPlan's map API. Boxes and poses keep all their digits: metres, radians, global frame.
"""

import math
import struct

OBJECT_TYPES = {"vehicle": 1, "pedestrian": 2, "bicycle": 3, "traffic_cone": 4, "barrier": 5, "czone_sign": 6,
                "generic_object": 7}
MAP_TYPES = {"LANE": 1, "LANE_CONNECTOR": 2, "ROADBLOCK": 3, "ROADBLOCK_CONNECTOR": 4, "INTERSECTION": 5,
             "CARPARK_AREA": 6, "DRIVABLE_AREA": 7}
FORWARD, LEFT, RIGHT = 1, 2, 3  # NavigationCommand
SOURCE = "NAVSIM (OpenScene, nuPlan)"
LICENSE = "CC BY-NC-SA 4.0 (nuPlan, OpenScene)"
MAP_RADIUS = 150.0  # m around the ego; the reference planner cuts at 100


class Unusable(ValueError):
    """This sample cannot become a scene."""


def wrap(angle):
    return math.atan2(math.sin(angle), math.cos(angle))


def set_pose(pose, x, y, heading):
    pose.x, pose.y, pose.heading = float(x), float(y), float(heading)


def to_ego(origin, x, y, heading):
    """A global pose in the frame of the pose `origin`."""
    dx, dy, c, s = x - origin[0], y - origin[1], math.cos(origin[2]), math.sin(origin[2])
    return c * dx + s * dy, -s * dx + c * dy, wrap(heading - origin[2])


def set_ego(out, state):
    """nuPlan's EgoState."""
    out.time_us = int(state.time_us)
    set_pose(out.rear_axle, state.rear_axle.x, state.rear_axle.y, state.rear_axle.heading)
    car = state.dynamic_car_state
    out.vx, out.vy = float(car.rear_axle_velocity_2d.x), float(car.rear_axle_velocity_2d.y)
    out.ax, out.ay = float(car.rear_axle_acceleration_2d.x), float(car.rear_axle_acceleration_2d.y)
    out.steering_angle = float(state.tire_steering_angle)
    out.steering_rate = float(car.tire_steering_rate)
    out.yaw_rate, out.yaw_acceleration = float(car.angular_velocity), float(car.angular_acceleration)


def set_ring(ring, coordinates):
    for x, y in list(coordinates)[:-1]:  # shapely repeats the first point
        ring.xy.extend((float(x), float(y)))


def set_polygon(out, token, kind, polygon):
    if polygon.geom_type != "Polygon":
        raise Unusable(f"map object {token} is a {polygon.geom_type}, not one polygon")
    out.token, out.type = str(token), kind
    set_ring(out.exterior, polygon.exterior.coords)
    for hole in polygon.interiors:
        set_ring(out.interiors.add(), hole.coords)


def box_of(polygon):
    """(x, y, heading) of a box's polygon, whose corners start at the front left, counter-clockwise."""
    corners = list(polygon.exterior.coords)[:4]
    x, y = sum(c[0] for c in corners) / 4, sum(c[1] for c in corners) / 4
    return x, y, math.atan2(corners[0][1] - corners[1][1], corners[0][0] - corners[1][0])


def set_agents(resolved, observation):
    """Objects of every 10 Hz sample; size, type and velocity are those of the first sample, as the scorer takes them."""
    exact = getattr(observation, "_detections_tracks", None)  # v2 keeps the boxes, v1 their polygons alone
    tracks = {}
    for index, occupancy in enumerate(observation._occupancy_maps):
        if exact is not None:
            seen = {o.track_token: (o.center.x, o.center.y, o.center.heading) for o in exact[index].tracked_objects}
        else:
            seen = {token: box_of(polygon) for token, polygon in zip(occupancy._tokens, occupancy._geometries)
                    if "red_light" not in token}
        for token, (x, y, heading) in seen.items():
            first = observation._unique_objects[token]
            if token not in tracks:
                track = tracks[token] = resolved.agents.add(
                    token=token, type=OBJECT_TYPES.get(first.tracked_object_type.name.lower(), 0))
                if track.type == 0:
                    raise Unusable(f"object {token} is of type {first.tracked_object_type.name}")
                track.length, track.width, track.height = first.box.length, first.box.width, first.box.height
            velocity = getattr(first, "velocity", None)
            tracks[token].states.add(index=index, x=float(x), y=float(y), heading=float(heading),
                                     vx=float(velocity.x) if velocity is not None else 0.0,
                                     vy=float(velocity.y) if velocity is not None else 0.0)


def set_red_lights(resolved, observation):
    polygons = {}
    lights = getattr(observation, "_occupancy_maps_tl", None)
    for index, occupancy in enumerate(observation._occupancy_maps):
        tokens, shapes = lights[index] if lights else (occupancy._tokens, occupancy._geometries)
        found = {token: shape for token, shape in zip(tokens, shapes) if "red_light" in token}
        resolved.red_lights.add(tokens=list(found))
        polygons.update(found)
    for token, polygon in polygons.items():
        set_polygon(resolved.red_light_polygons.add(), token, MAP_TYPES["LANE_CONNECTOR"], polygon)


def set_resolved(resolved, cache):
    area = cache.drivable_area_map
    for token, kind, polygon in zip(area._tokens, area._map_types, area._geometries):
        set_polygon(resolved.drivable_map.add(), token, MAP_TYPES[kind.name], polygon)
    resolved.route_lane_ids.extend(str(i) for i in cache.route_lane_ids)
    for state in cache.centerline._discrete_path:
        set_pose(resolved.centerline.add(), state.x, state.y, state.heading)
    reference = cache.trajectory.get_sampled_trajectory()
    if len(reference) != 51:
        raise Unusable(f"the reference trajectory has {len(reference)} states, not 51")
    for state in reference:
        set_pose(resolved.pdm_reference.add(), state.rear_axle.x, state.rear_axle.y, state.rear_axle.heading)
    set_agents(resolved, cache.observation)


def command_of(scene):
    """Where the centre line is 20 m on: more than 2 m to a side is a turn. For samples without their log."""
    resolved = scene.resolved_v1 if scene.HasField("resolved_v1") else scene.resolved_v2
    ego = scene.ego.rear_axle
    local = [to_ego((ego.x, ego.y, ego.heading), p.x, p.y, p.heading) for p in resolved.centerline]
    start = min(range(len(local)), key=lambda i: math.hypot(local[i][0], local[i][1]), default=0)
    ahead = next((p for p in local[start:] if math.hypot(p[0], p[1]) >= 20), local[-1] if local else (0, 0, 0))
    return LEFT if ahead[1] > 2 else RIGHT if ahead[1] < -2 else FORWARD


def add_cache(scene, cache, token, log_name):
    """A metric cache into a scene, which may hold the cache of the other version already."""
    v2 = hasattr(cache, "timepoint")
    observed = len(cache.observation._occupancy_maps)
    if observed != (41 if v2 else 51):
        raise Unusable(f"objects of {observed} samples; {'v2 caches hold 41' if v2 else 'v1 caches hold 51'}")
    scene.id = scene.token = token
    scene.recording = str(getattr(cache, "log_name", "") or log_name)
    scene.family, scene.label, scene.source, scene.license = "navsim", 1, SOURCE, LICENSE
    set_ego(scene.ego, cache.ego_state)
    resolved = scene.resolved_v2 if v2 else scene.resolved_v1
    resolved.Clear()
    resolved.SetInParent()
    set_resolved(resolved, cache)
    if not v2:
        return
    set_red_lights(resolved, cache.observation)
    scene.location = str(cache.map_parameters.map_name)
    scene.synthetic_stage = cache.scene_type.name == "SYNTHETIC"
    if cache.human_trajectory is not None:
        for poses in (resolved.human, scene.human, scene.gt):
            del poses[:]
            for x, y, heading in cache.human_trajectory.poses:
                set_pose(poses.add(), x, y, heading)
    past = [s for s in cache.past_human_trajectory.get_sampled_trajectory() if s.time_us < cache.ego_state.time_us]
    del scene.ego_past[:]
    for state in past[-3:]:
        set_ego(scene.ego_past.add(), state)


# Logs ------------------------------------------------------------------------------------------------------------------


def pose_of(frame):
    x, y = frame["ego2global_translation"][:2]
    w, i, j, k = (float(v) for v in frame["ego2global_rotation"])
    return float(x), float(y), math.atan2(2 * (w * k - i * j), 1 - 2 * (j * j + k * k))


def single(value):  # as NAVSIM keeps velocities
    return struct.unpack("f", struct.pack("f", value))[0]


def set_frame_ego(out, frame):
    out.time_us = int(frame["timestamp"])
    set_pose(out.rear_axle, *pose_of(frame))
    out.vx, out.vy, out.ax, out.ay = (single(v) for v in frame["ego_dynamic_state"][:4])


def set_tracks(tracks, frames, first_index):
    """Boxes of consecutive frames; they are given in the ego frame of each."""
    known = {}
    for index, frame in enumerate(frames, first_index):
        x, y, heading = pose_of(frame)
        c, s, annotations = math.cos(heading), math.sin(heading), frame["anns"]
        for n, token in enumerate(annotations["track_tokens"]):
            name = str(annotations["gt_names"][n])
            if name == "ego":
                continue
            box = [float(v) for v in annotations["gt_boxes"][n]]
            vx, vy = (float(v) for v in annotations["gt_velocity_3d"][n][:2])
            if token not in known:
                known[token] = tracks.add(token=str(token), type=OBJECT_TYPES[name], length=box[3], width=box[4], height=box[5])
            moves = OBJECT_TYPES[name] <= OBJECT_TYPES["bicycle"]
            known[token].states.add(index=index, x=x + c * box[0] - s * box[1], y=y + s * box[0] + c * box[1],
                                    heading=wrap(box[6] + heading), vx=c * vx - s * vy if moves else 0.0,
                                    vy=s * vx + c * vy if moves else 0.0)


def add_log(scene, frames, now):
    """What a log says beyond the cache: history, the driven trajectory, command, route, 2 Hz tracks and lights."""
    frame = frames[now]
    if now < 3 or now + 10 >= len(frames):
        raise Unusable("the log does not reach from 1.5 s before it to 5 s after it")
    scene.id = scene.token = str(frame["token"])
    scene.recording, scene.location = str(frame["log_name"]), str(frame["map_location"])
    scene.family, scene.label, scene.source, scene.license = "navsim", 1, SOURCE, LICENSE
    if not scene.HasField("ego"):
        set_frame_ego(scene.ego, frame)
    for field in (scene.ego_past, scene.gt, scene.human, scene.tracks, scene.past_tracks, scene.traffic_lights,
                  scene.route_roadblock_ids, scene.images):
        del field[:]
    for past in frames[now - 3 : now]:
        set_frame_ego(scene.ego_past.add(), past)
    for later in frames[now + 1 : now + 9]:
        local = to_ego(pose_of(frame), *pose_of(later))
        set_pose(scene.gt.add(), *local)
        set_pose(scene.human.add(), *local)
    command = [int(v) for v in frame["driving_command"]]
    scene.command = LEFT if command[0] else RIGHT if len(command) > 2 and command[2] else FORWARD
    set_tracks(scene.tracks, frames[now : now + 11], 0)
    set_tracks(scene.past_tracks, frames[now - 3 : now + 1], -3)
    for later in frames[now : now + 11]:
        lights = scene.traffic_lights.add()
        for connector, red in later["traffic_lights"]:
            lights.lights.add(lane_connector=str(connector), red=bool(red))
    scene.route_roadblock_ids.extend(dict.fromkeys(str(i) for i in frame["roadblock_ids"]))
    front = frame.get("cams", {}).get("CAM_F0") or frame.get("cams", {}).get("cam_f0")
    if front and front.get("data_path"):
        scene.images.add(path=str(front["data_path"]), camera="front")


# Maps ------------------------------------------------------------------------------------------------------------------


def add_map(scene, map_api, layers, point):
    """Roads within MAP_RADIUS of the ego and along the route, for `swerve scenes resolve`. `layers`: SemanticMapLayer."""
    scene.map.Clear()
    blocks = {}
    near = map_api.get_proximal_map_objects(point, MAP_RADIUS, [layers.ROADBLOCK, layers.ROADBLOCK_CONNECTOR,
                                                                layers.INTERSECTION, layers.CARPARK_AREA])
    for layer in (layers.ROADBLOCK, layers.ROADBLOCK_CONNECTOR):
        for block in near[layer]:
            blocks[str(block.id)] = (block, layer)
    for block_id in scene.route_roadblock_ids:
        for layer in (layers.ROADBLOCK, layers.ROADBLOCK_CONNECTOR):
            block = None if block_id in blocks else map_api.get_map_object(block_id, layer)
            if block is not None:
                blocks[block_id] = (block, layer)
    for block_id, (block, layer) in blocks.items():
        set_polygon(scene.map.polygons.add(), block_id, MAP_TYPES[layer.name], block.polygon)
        scene.map.roadblocks.add(id=block_id, incoming=[str(b.id) for b in block.incoming_edges],
                                 outgoing=[str(b.id) for b in block.outgoing_edges])
        kind = "LANE" if layer == layers.ROADBLOCK else "LANE_CONNECTOR"
        for lane in block.interior_edges:
            set_polygon(scene.map.polygons.add(), lane.id, MAP_TYPES[kind], lane.polygon)
            out = scene.map.lanes.add(id=str(lane.id), roadblock=block_id, incoming=[str(e.id) for e in lane.incoming_edges],
                                      outgoing=[str(e.id) for e in lane.outgoing_edges])
            if lane.speed_limit_mps is not None:
                out.speed_limit = float(lane.speed_limit_mps)
            for state in lane.baseline_path.discrete_path:
                set_pose(out.baseline.add(), state.x, state.y, state.heading)
    for layer in (layers.INTERSECTION, layers.CARPARK_AREA):
        for area in near[layer]:
            set_polygon(scene.map.polygons.add(), area.id, MAP_TYPES[layer.name], area.polygon)
