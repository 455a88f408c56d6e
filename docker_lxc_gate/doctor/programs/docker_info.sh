# Prints Docker's own information, as far as a problem needs it, as JSON.

asked info -f '{"Driver":{{json .Driver}},"DriverStatus":{{json .DriverStatus}},"SecurityOptions":{{json .SecurityOptions}},"ServerVersion":{{json .ServerVersion}},"DockerRootDir":{{json .DockerRootDir}}}'
